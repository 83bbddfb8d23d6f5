"""A strategy or gateway has a bounded number of connections open: its author's code could else take those of everybody.

nats-server bounds the connections of an account, not of an identity. So each replica remembers those it has let in, and
where an identity has too many it has the servers close the oldest. The newest stay: who comes back is not kept out by
connections that ended without the server's knowledge. A decision waits for no server, because one that asks about all
of its connections answers nothing meanwhile; until the oldest are closed an identity may have twice the bound.

What is forgotten with a replica comes back when servers ask about their connections again (see open_connections.py).
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from crowetrade import subjects
from crowetrade_operator.authorizer import metrics
from crowetrade_operator.authorizer.open_connections import servers_of
from crowetrade_operator.errors import OperatorError
from crowetrade_process.audit.refusals import Refusals

CONNECTIONS = 16
"""Of one identity at one replica. A pod has two at most, one more of each while its certificate is renewed, and there
are two pods while one is replaced."""
REFUSED_FROM = 2 * CONNECTIONS
REASON = "TooManyConnections"
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 5.0

log = structlog.get_logger()


class NotClosed(OperatorError):
    """A server does not say which connections it has; another try may help."""


@dataclass(frozen=True, slots=True)
class Connection:
    """As a server numbers it; one that starts again has another id."""

    server_id: str
    number: int


class ConnectionBound:
    """The connections that one replica has let in, by identity."""

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        # The oldest first.
        self._open: defaultdict[str, dict[Connection, None]] = defaultdict(dict)
        self._crowded: set[str] = set()
        self._changed = asyncio.Event()

    def admits(self, who: str, connection: Connection) -> bool:
        """Whether an identity may have this connection, which then counts as open."""
        of_identity = self._open[who]
        if connection in of_identity:
            # A server asks again about those that it has.
            return True
        if len(of_identity) >= CONNECTIONS:
            self._crowded.add(who)
            self._changed.set()
        if len(of_identity) >= REFUSED_FROM:
            return False
        of_identity[connection] = None
        return True

    async def run(self, client: Client) -> None:
        """Closes what is too much, until it is cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            crowded, self._crowded = self._crowded, set()
            for who in crowded:
                try:
                    await self._close_oldest(client, who)
                except (NatsError, OperatorError, TimeoutError, OSError) as error:
                    log.warning("connections_not_closed", identity=who, error=str(error) or type(error).__name__)
                    self._crowded.add(who)
                    self._changed.set()
                    await asyncio.sleep(RETRY_SECONDS)

    async def _close_oldest(self, client: Client, who: str) -> None:
        of_identity = self._open[who]
        for server_id in {connection.server_id for connection in of_identity}:
            at_server = [connection for connection in of_identity if connection.server_id == server_id]
            for connection in await _closed(client, server_id, at_server):
                del of_identity[connection]
        surplus = tuple(of_identity)[: max(len(of_identity) - CONNECTIONS, 0)]
        for connection in surplus:
            await _close(client, connection)
            del of_identity[connection]
            metrics.CONNECTIONS_CLOSED.inc()
            text = f"it has more than {CONNECTIONS} connections open: the oldest is closed"
            log.warning("connection_closed", identity=who, reason=REASON, text=text)
            self._refusals.record(REASON, text, who)


async def _closed(client: Client, server_id: str, connections: list[Connection]) -> list[Connection]:
    try:
        return [connection for connection in connections if not await _is_open(client, connection)]
    except NoRespondersError:
        if server_id in (await servers_of(client)).values():
            # It may not be asked: account AUTH lacks the import.
            raise
        return connections


async def _is_open(client: Client, connection: Connection) -> bool:
    asked = subjects.server_connections(connection.server_id)
    answer = await _answer(client, asked, connection)
    found = answer.get("data", {}).get("connections")
    if not isinstance(found, list):
        raise NotClosed(f"{asked}: {answer.get('error', 'the answer names no connections')}")
    return bool(found)


async def _close(client: Client, connection: Connection) -> None:
    """One that is closed already stays so."""
    await _answer(client, subjects.server_kick(connection.server_id), connection)


async def _answer(client: Client, asked: str, connection: Connection) -> dict[str, Any]:
    request = json.dumps({"cid": connection.number}).encode()
    answer: dict[str, Any] = json.loads((await client.request(asked, request, timeout=ANSWER_SECONDS)).data)
    return answer
