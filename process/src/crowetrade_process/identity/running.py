"""The identity of a process for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from crowetrade_process.identity.holder import Identity, Report
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process.stopping import cancelled, unless_stopping


@asynccontextmanager
async def process_identity(
    environment: Mapping[str, str], report: Report, stopping: asyncio.Event
) -> AsyncIterator[Identity | None]:
    """Waits for the certificate, then renews it until the end; None where the environment asks for no identity, and
    when the process is asked to stop before there is one. Raises IdentitySettingsError."""
    identity = identity_from_environment(environment)
    if identity is None:
        yield None
        return
    report(False, "waiting for the first certificate")
    await unless_stopping(stopping, identity.start(report))
    if stopping.is_set():
        yield None
        return
    renewing = asyncio.create_task(identity.run())
    try:
        yield identity
    finally:
        await cancelled(renewing)
