"""Connections to the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError

from crowetrade_cli.errors import Failed
from crowetrade_cli.identity import TLS_FILES
from crowetrade_process.identity.nats import connect_options

CONNECT_SECONDS = 5


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    """A connection to the bus that is closed at the end; raises Failed when there is none."""

    async def no_output(error: Exception) -> None:
        return

    identity = await TLS_FILES.identity()
    try:
        client = await nats.connect(
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
