"""What is known of a kind is followed, at a bearable rate when the API server ends each watch at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from crowetrade_operator.authorizer import known as known_module
from crowetrade_operator.authorizer import metrics
from crowetrade_operator.authorizer.known import Known
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import VENUES
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import until
from crowetrade_process.stopping import cancelled

pytestmark = pytest.mark.integration
RETRY_SECONDS = 0.3


async def test_a_watch_that_ends_at_once_is_begun_again_after_a_pause(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_module, "RETRY_SECONDS", RETRY_SECONDS)
    async with FaultProxy(api_server, seed=1, slow_seconds=0.0).running() as proxy:
        proxy.empty_watches = frozenset({VENUES.plural})
        line = await connect(str(proxy.kubeconfig(tmp_path)))
        venues = Known(line, VENUES, lambda _: True, metrics.VENUES, (namespace,))
        began = time.monotonic()
        task = asyncio.create_task(venues.run())
        try:
            await until("four watches", lambda: proxy.spoiled[Fault.WATCH_EMPTY] >= 4)
            assert time.monotonic() - began >= 3 * RETRY_SECONDS
            assert venues.problem == ""
            await cluster.create(VENUES, namespace, venue_manifest("meanwhile", namespace))
            await until("the list", lambda: venues.get(namespace, "meanwhile") is True)
            proxy.empty_watches = frozenset()
            await until("a watch that lasts", lambda: VENUES.plural in proxy.watches())
            await cluster.create(VENUES, namespace, venue_manifest("later", namespace))
            await until("the watch to bring it", lambda: venues.get(namespace, "later") is True)
        finally:
            await cancelled(task)
            await line.close()
