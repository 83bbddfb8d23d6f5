"""Events tell transitions, once each; the state itself is in the conditions."""

from __future__ import annotations

from collections import Counter

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_operator.cluster.resources import STRATEGIES, VENUES
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import account
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration


async def _reconciles(desk: Desk, more: int) -> None:
    """Waits for so many more reconciles of strategies and venues."""
    kinds = ("Strategy", "VenueConnection")
    before = {kind: counted("reconciles", kind=kind) for kind in kinds}

    async def done() -> bool:
        desk.parts.controller.enqueue_all()
        return all(counted("reconciles", kind=kind) >= before[kind] + more for kind in kinds)

    await until(f"{more} reconciles", done)


async def test_each_transition_is_told_once(desk: Desk) -> None:
    async with trading(desk) as gateway:
        known = [await desk.events(name) for name in ("ema", "sim-fx")]
        before = {item["metadata"]["name"] for events in known for item in events}
        gateway.says(accounts=[account()], session=status_pb2.SESSION_STATE_DISCONNECTED, session_message="reset")
        await desk.condition(STRATEGIES, "ema", "Ready", "False", "Disconnected")
        await desk.condition(VENUES, "sim-fx", "Ready", "False", "Disconnected")
        await _reconciles(desk, 5)
        gateway.says(accounts=[account()])
        await desk.condition(STRATEGIES, "ema", "Ready", "True")
        await desk.condition(VENUES, "sim-fx", "Ready", "True")
        await _reconciles(desk, 5)

        # Taken in this order, so that nothing can be told before them that is not there a moment later.
        gateway.says(accounts=[account(connected=False)], session=status_pb2.SESSION_STATE_ENDED)
        await desk.told("ema", "ReplayEnded")
        await desk.told("sim-fx", "ReplayEnded")
        for name, back in (("ema", "Available"), ("sim-fx", "LoggedOn")):
            await desk.told(name, back)
            told = [item for item in await desk.events(name) if item["metadata"]["name"] not in before]
            assert [(item["type"], item["reason"]) for item in told] == [
                ("Warning", "Disconnected"),
                ("Normal", back),
                ("Normal", "ReplayEnded"),
            ], name
        assert "disconnected: reset" in (await desk.events("sim-fx", "Disconnected"))[0]["note"]


async def test_an_event_says_whom_it_is_about_and_who_tells_it(desk: Desk) -> None:
    async with trading(desk):
        event = await desk.told("ema", "Available")
        resource = await desk.get(STRATEGIES, "ema")
        assert event["regarding"]["uid"] == resource["metadata"]["uid"]
        assert event["regarding"]["kind"] == "Strategy"
        assert (event["reportingController"], event["reportingInstance"]) == ("crowetrade-operator", "operator-0")
        reasons = Counter(item["reason"] for item in await desk.events("ema"))
        assert reasons["Available"] == 1
