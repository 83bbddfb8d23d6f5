"""The identity of a process for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crowetrade_process.identity.holder import Identity, Report
from crowetrade_process.stopping import cancelled, unless_stopping


@asynccontextmanager
async def running(identity: Identity | None, report: Report, stopping: asyncio.Event) -> AsyncIterator[None]:
    """Waits for the first certificate and renews it until the end; at once where there is no identity.

    When the process is asked to stop first, there is no certificate, and whatever needs one raises IdentityUnavailable:
    the caller looks at `stopping`.
    """
    if identity is None:
        yield
        return
    report(False, "waiting for the first certificate")
    await unless_stopping(stopping, identity.start(report))
    renewing = asyncio.create_task(identity.run())
    try:
        yield
    finally:
        await cancelled(renewing)
