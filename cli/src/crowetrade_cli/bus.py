"""Connections to the bus."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import DEFAULT_PREFIX

from crowetrade import subjects
from crowetrade_cli.errors import Failed
from crowetrade_cli.identity import TLS_FILES
from crowetrade_process.identity.nats import TlsClient, connect_options

CONNECT_SECONDS = 5


def jetstream_api() -> str:
    """Prefix of the JetStream API: an administrator, who shows a certificate, is in an account of their own."""
    return subjects.ADMIN_API if TLS_FILES.directory else DEFAULT_PREFIX


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    """A connection to the bus that is closed at the end; raises Failed when there is none."""

    async def no_output(error: Exception) -> None:
        return

    identity = await TLS_FILES.identity()
    if identity is not None:
        # It warns at the end of each connection by TLS, whose protocol the client chooses.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
    try:
        client = TlsClient(identity)
        await client.connect(
            url,
            name="crowetrade",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_SECONDS,
            error_cb=no_output,
            **connect_options(identity),
        )
    except (NatsError, OSError, TimeoutError) as error:
        raise Failed(f"NATS at {url} cannot be reached ({error or type(error).__name__})") from error
    try:
        yield client
    finally:
        await client.close()
