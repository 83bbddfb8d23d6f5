"""A client of the test's own NATS server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from crowetrade_operator_tests.servers import nats_client


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    """Connected until the test ends."""
    async with nats_client(nats_url) as found:
        yield found
