"""Every edit by which the operator's benchmark measures repairs, at a real API server: it changes the child, and is put
back."""

from __future__ import annotations

import pytest
from benchmarks.operator.edits import EDITS, GATEWAY_EDITS, Patch, edit
from benchmarks.operator.run import _content

from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator_tests.conftest import api_server, cluster, namespace, nats_server, nats_url
from crowetrade_operator_tests.integration.conftest import desk, settings
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.waiting import until

__all__ = ["api_server", "cluster", "desk", "namespace", "nats_server", "nats_url", "settings"]
pytestmark = pytest.mark.integration
TRIED = [
    *(("strategy-ema", resource, edits) for resource, edits in EDITS.items()),
    *(("venue-sim-fx", resource, edits) for resource, edits in GATEWAY_EDITS.items()),
]


@pytest.mark.parametrize(("name", "resource", "edits"), TRIED, ids=lambda value: getattr(value, "plural", None))
async def test_each_edit_is_put_back(
    desk: Desk,
    name: str,
    resource: ApiResource,
    edits: dict[str, Patch],
) -> None:
    async with trading(desk):
        desk.parts.context.child_writer.writes.at_once = 1000  # so many repairs in a row are no fight here
        for what, patch in edits.items():
            before = _content(await desk.get(resource, name))
            changed = await edit(desk.cluster, resource, desk.namespace, name, patch)
            assert _content(changed) != before, what

            async def as_before(before: object = before) -> bool:
                return _content(await desk.get(resource, name)) == before

            await until(f"{resource.kind} to be put back: {what}", as_before)
