"""What the operator counts of its requests is what the API server receives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crowetrade_operator.cluster.resources import CUSTOM, watched
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.integration.desk import running
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
VERBS = {
    "watch": ("watch",),
    "GET": ("get", "list"),
    "POST": ("create",),
    "PUT": ("update",),
    "PATCH": ("apply", "patch"),
    "DELETE": ("delete",),
}
"""By what the proxy calls it."""


async def test_every_request_is_counted_with_watches_and_those_of_kopf(
    api_server: ApiServer, settings: Settings, tmp_path: Path
) -> None:
    proxy, kinds = FaultProxy(api_server, 1, 0.0), {resource.plural for resource in watched()}
    async with proxy.running():
        before = {verb: counted("api_requests", verb=verb) for verbs in VERBS.values() for verb in verbs}

        def found() -> dict[str, float]:
            return {
                name: sum(counted("api_requests", verb=verb) - before[verb] for verb in verbs)
                for name, verbs in VERBS.items()
            }

        def as_received() -> bool:
            return found() == {name: proxy.requests[name] for name in VERBS}

        async with running(replace(settings, kubeconfig=str(proxy.kubeconfig(tmp_path)))):
            await until("every kind to be watched", lambda: kinds <= set(proxy.watches()))
            await until("as many to be counted as came", as_received)
            assert proxy.requests["watch"] >= len(kinds)
            # A watch that kopf has begun is refused, and begun again.
            refused = counted("api_requests", verb="watch", code="410")
            proxy.end_watches(CUSTOM[0].plural, Fault.WATCH_REFUSED)
            await until("the refusal", lambda: counted("api_requests", verb="watch", code="410") > refused)
            await until("it to be watched again", lambda: CUSTOM[0].plural in proxy.watches())
            await until("as many to be counted as came", as_received)
