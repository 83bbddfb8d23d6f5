"""To look at everything again when nothing has changed writes nothing."""

from __future__ import annotations

import pytest

from crowetrade_operator.cluster.resources import CHILDREN, CUSTOM
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
WRITES = ("apply", "patch", "create", "update", "delete")


def _writes() -> float:
    """All writes but those of the Lease, which is renewed all the time."""
    return sum(
        counted("api_requests", verb=verb) - counted("api_requests", verb=verb, resource="leases") for verb in WRITES
    )


async def _versions(desk: Desk) -> dict[str, str]:
    return {
        item["metadata"]["uid"]: item["metadata"]["resourceVersion"]
        for resource in (*CUSTOM, *CHILDREN)
        for item in (await desk.cluster.list(resource, desk.namespace))[0]
    }


async def _look_again(desk: Desk) -> None:
    before = counted("reconciles", result="done")
    desk.parts.controller.enqueue_all()

    async def done() -> bool:
        return counted("reconciles", result="done") >= before + 3

    await until("three reconciles", done)
    await desk.idle()


async def test_a_reconcile_without_a_change_writes_nothing(desk: Desk) -> None:
    async with trading(desk):
        await _look_again(desk)
        versions, writes, skipped, puts = (
            await _versions(desk),
            _writes(),
            counted("applies_skipped"),
            counted("gateway_config_puts"),
        )
        await _look_again(desk)
        assert _writes() == writes
        assert counted("gateway_config_puts") == puts
        assert counted("applies_skipped") >= skipped + 2 * len(CHILDREN)
        assert await _versions(desk) == versions
