"""Connections to NATS: a client that goes on trying, and mutual TLS 1.3 as arguments of any client's `connect`.

The handshake comes first (in the server's configuration `tls { handshake_first: true }`): a client that waits for the
server to ask for TLS would go on in clear with a server that does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import ParseResult

import structlog
from nats.aio.client import DEFAULT_BUFFER_SIZE, Client, Srv
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport
from nats.errors import AuthorizationError
from nats.errors import Error as NatsError
from nats.protocol.parser import AUTHORIZATION_VIOLATION, PERMISSIONS_ERR, STALE_CONNECTION

from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.holder import End, Identity
from crowetrade_process.identity.server_certificate import refusal_of

RECONNECT_WAIT_SECONDS = 1
CONNECT_SECONDS = 5
"""More than the server waits for the authorizer: it says then that it has refused."""
RENEWAL_RETRY_SECONDS = 5.0
"""Between two tries to take another connection while the present one still works."""
REQUESTS_SECONDS = 5.0
"""How long a renewal waits for the answers to requests that are under way."""
RENEWAL_SECONDS = 10.0
"""After so long without the other connection the bus counts as lost."""
CLOSING_SECONDS = 1.0
"""How long what is still to be sent may take, and the other side's consent to the end of a connection."""

OnConnection = Callable[[bool, str], None]
"""Whether the bus can be reached, and why not."""

log = structlog.get_logger(__name__)


def connect_options(identity: Identity | None) -> dict[str, Any]:
    """What to add to the arguments of `connect`. Each connection, also after a loss, shows the certificate of that
    moment."""
    if identity is None:
        return {}
    options: dict[str, Any] = {
        "tls": identity.client_context(),
        "tls_handshake_first": True,
        "inbox_prefix": identity.name.inbox_prefix,
    }
    return {**options, "tls_hostname": identity.nats_server_name} if identity.nats_server_name else options


class _Transport(TcpTransport):
    """One connection. nats-py waits at its end until the other side consents: with a silent one 30 s (asyncio's limit),
    and without end if it fell silent before the handshake was done."""

    def __init__(self, identity: Identity | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._identity = identity

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        """Raises NatsError for a server whose certificate is revoked; whom the TLS library refuses is counted, too."""
        try:
            await super().connect_tls(uri, ssl_context, buffer_size, connect_timeout)
        except ssl.SSLError as error:
            server = uri if isinstance(uri, str) else uri.hostname
            if self._identity is not None and (refusal := refusal_of(error, str(server))) is not None:
                self._identity.refuse(refusal.reason, refusal.text)
            raise
        if why := self.why_not():
            raise NatsError(f"nats: {why}")

    def why_not(self) -> str:
        """Why the server is not to be trusted; empty when it is. The TLS library has checked the rest."""
        if self._identity is None or self._io_writer is None:
            return ""
        shown = self._io_writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        refusal = self._identity.judge_server(shown)
        return f"the certificate of NATS: {refusal.text}" if refusal is not None else ""

    async def wait_closed(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                await super().wait_closed()  # type: ignore[no-untyped-call]


class TlsClient(Client):
    """nats-py over connections that end, to servers whose certificate is not revoked."""

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__()
        self._identity = identity

    async def _connect_to_server(self, s: Srv) -> None:
        s.last_attempt = time.monotonic()
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
        self._transport = _Transport(self._identity)
        await self._transport.connect(s.uri, DEFAULT_BUFFER_SIZE, self.options["connect_timeout"])

    async def judge_server_again(self) -> None:
        """Ends the connection when the server's certificate is revoked by now. One that is being opened is left alone:
        whoever opens it calls this when it is open."""
        if self.is_connected and isinstance(self._transport, _Transport) and (why := self._transport.why_not()):
            error = NatsError(f"nats: {why}")
            await self._error_cb(error)
            await self._process_op_err(error)


class BusClient(TlsClient):
    """One connection for the life of a process, with its subscriptions.

    nats-py closes a connection for good when the server says why it ends it (the certificate has ended, nobody answered
    for the authorizer), and ceases to reconnect or to read without a word at errors that it does not expect. This one
    reconnects after everything but `close` and `drain`.

    nats-server ends a connection when the certificate ends that it was opened with. So it is replaced as soon as there
    is another certificate: no request is under way then, and those that come meanwhile wait.
    """

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__(identity)
        self._url = ""
        self._arguments: dict[str, Any] = {}
        self._on_connection: OnConnection = lambda connected, why: None
        self._errors_at = logging.WARNING
        self._shown: bytes | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._judging: asyncio.Task[None] | None = None
        self._replacing = False
        # What ends the calls of its identity.
        self._ends: list[End] = []
        self._may_ask, self._nothing_asked, self._back = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._may_ask.set()
        self._nothing_asked.set()
        self._asked = 0

    @classmethod
    async def open(
        cls,
        url: str,
        name: str,
        identity: Identity | None = None,
        on_connection: OnConnection = lambda connected, why: None,
        *,
        errors_at: int = logging.WARNING,
        **options: Any,
    ) -> Self:
        """Connects, trying without end. `on_connection` is called at every later change and attempt that fails. Errors
        are logged at the level `errors_at`; `options` are more arguments of nats-py's `connect`."""
        client = cls(identity)
        client._url = url
        client._on_connection, client._errors_at = on_connection, errors_at
        defaults: dict[str, Any] = {"servers": [url], "name": name, "connect_timeout": CONNECT_SECONDS}
        client._arguments = defaults | connect_options(identity) | options
        await client.connect(
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_SECONDS,
            reconnected_cb=client._connected,
            disconnected_cb=client._disconnected,
            error_cb=client._failed,
            **client._arguments,
        )
        if identity is not None:
            client._shown = client._certificate()
            client._ends = [
                identity.on_change(client._look_at_certificate),
                identity.on_revocation(client._judge_again),
            ]
            await client.judge_server_again()
        return client

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """As in nats-py; `timeout` seconds begin when the request is sent."""
        await self._may_ask.wait()
        self._asked += 1
        self._nothing_asked.clear()
        try:
            return await super().request(subject, payload, timeout, old_style, headers)
        finally:
            self._asked -= 1
            if not self._asked:
                self._nothing_asked.set()

    async def _connected(self) -> None:
        self._back.set()
        self._on_connection(True, "")
        # By a task of its own: it cancels the one that reconnects, which is this one.
        self._judge_again()

    async def _disconnected(self) -> None:
        if not self._replacing:
            self._on_connection(False, "the connection to NATS is lost; trying again")

    async def _failed(self, error: Exception) -> None:
        log.log(self._errors_at, "nats_error", error=_text(error))
        if not self.is_connected and not self._replacing:
            self._on_connection(False, f"NATS at {self._url} can't be reached ({_text(error)}); trying again")

    def _look_at_certificate(self) -> None:
        if self._certificate() != self._shown and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.get_running_loop().create_task(self._renew())

    def _judge_again(self) -> None:
        self._judging = asyncio.get_running_loop().create_task(self.judge_server_again())

    def _certificate(self) -> bytes | None:
        return self._identity.credentials.chain_pem if self._identity is not None else None

    async def _renew(self) -> None:
        """Replaces the connection as soon as another one can be had: without an authorizer the present one is kept."""
        while not self.is_closed and (certificate := self._certificate()) != self._shown:
            why = await self._why_no_other()
            if why:
                log.warning("bus_connection_not_renewed", error=why)
                await asyncio.sleep(RENEWAL_RETRY_SECONDS)
            else:
                await self._replace()
                self._shown = certificate
                log.info("bus_connection_renewed")

    async def _why_no_other(self) -> str:
        """Tries whether somebody who connects now is let in."""
        tried = TlsClient(self._identity)
        try:
            await tried.connect(**self._arguments, allow_reconnect=False, max_reconnect_attempts=1, error_cb=_ignore)
            # An end of the connection is taken for a welcome; then nothing comes back.
            await tried.flush(int(REQUESTS_SECONDS))
        except (NatsError, OSError, TimeoutError, IdentityUnavailable) as error:
            return _text(error)
        finally:
            await tried.close()
        return ""

    async def _replace(self) -> None:
        self._may_ask.clear()
        try:
            async with asyncio.timeout(REQUESTS_SECONDS):
                await self._nothing_asked.wait()
                await self.flush()
        except (NatsError, TimeoutError) as error:
            log.warning("bus_requests_unanswered", asked=self._asked, error=_text(error))
        self._back.clear()
        self._replacing = True
        try:
            await self.force_reconnect()
            async with asyncio.timeout(RENEWAL_SECONDS):
                await self._back.wait()
        except TimeoutError:
            self._on_connection(False, "the connection to NATS is lost; trying again")
        finally:
            self._replacing = False
            self._may_ask.set()

    # What nats-py does not offer to change, and so its private methods:

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        for end in self._ends:
            end()
        self._ends.clear()
        await super()._close(status, do_cbs)

    async def _process_err(self, err_msg: str) -> None:
        if PERMISSIONS_ERR in err_msg or STALE_CONNECTION in err_msg:
            await super()._process_err(err_msg)
            return
        refused = AUTHORIZATION_VIOLATION in err_msg
        error = AuthorizationError() if refused else NatsError("nats: " + err_msg.strip("'"))
        self._err = error
        await self._error_cb(error)
        await self._process_op_err(error)

    async def _process_pong(self) -> None:
        # Of a flush that nobody waits for any more; it would end the reading.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _read_loop(self) -> None:
        await super()._read_loop()
        task = asyncio.current_task()
        if self.is_connected and not (task and task.cancelling()):
            await self._process_op_err(NatsError("nats: what the server sent could not be read"))

    async def _attempt_reconnect(self) -> None:
        while True:
            try:
                await super()._attempt_reconnect()
            except Exception as error:  # noqa: BLE001 - whatever it is: without this nobody would try again
                if self.is_closed:
                    return
                self._status = Client.RECONNECTING
                await self._failed(error)
                await asyncio.sleep(RECONNECT_WAIT_SECONDS)
            else:
                return


async def _ignore(error: Exception) -> None:
    return


def _text(error: Exception) -> str:
    """Some errors of asyncio have no text."""
    return str(error) or type(error).__name__
