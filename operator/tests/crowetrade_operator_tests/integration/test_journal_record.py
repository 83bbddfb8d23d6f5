"""The journal of a gateway is on record: one that begins below it is halted until a person says that this is right."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade import subjects
from crowetrade_api.names import CLEAR_HALT_ANNOTATION
from crowetrade_operator.bus import status_board
from crowetrade_operator.cluster.resources import STRATEGIES, VENUES
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import account, venue_manifest
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
HALT = "JournalBelowRecord@1"
HOLDS = {"accounts": [account(positions=[position("7000")])], "fencing_token": 7, "journal_sequence": 2000}
LOST = {"accounts": [account()], "fencing_token": 1, "journal_sequence": 2}
HALTED = {**LOST, "blocked_reason": "JournalBelowRecord", "blocked_message": f"annotate it with {HALT}"}


async def test_a_venue_has_the_stream_of_its_journal_and_leaves_it_behind(desk: Desk) -> None:
    name = subjects.journal_stream(desk.namespace, "sim-fx")
    await desk.create(VENUES, venue_manifest())
    await until("the configuration", lambda: configured(desk))
    before = await desk.bus.jetstream().stream_info(name)
    assert before.config.subjects == [subjects.journal(desk.namespace, "sim-fx")]
    await desk.delete(VENUES, "sim-fx")
    await desk.gone(VENUES, "sim-fx")
    assert (await desk.bus.jetstream().stream_info(name)).created == before.created


async def configured(desk: Desk) -> bool:
    try:
        return bool((await desk.config()).revision)
    except Exception:  # noqa: BLE001 - not there yet
        return False


async def test_a_journal_that_comes_back_empty_halts_until_a_person_clears_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_board, "SUCCESSOR_SECONDS", 0.2)
    async with trading(desk) as gateway:
        gateway.says(**HOLDS)
        await desk.holds("7000 EUR-USD")

        async def on_record(token: int) -> bool:
            return (await desk.config()).on_record.fencing_token == token

        await until("the record to be on the bus", lambda: on_record(7))
        gateway.says(**HALTED)
        await desk.condition(VENUES, "sim-fx", "Halted", "True", "JournalBelowRecord")
        await desk.condition(STRATEGIES, "ema", "Trading", "False", "JournalBelowRecord")
        await desk.idle()
        status = (await desk.get(VENUES, "sim-fx"))["status"]
        assert (status["session"]["fencingToken"], status["journal"]["sequence"]) == (7, 2000)
        await desk.holds("7000 EUR-USD")

        await desk.patch(VENUES, "sim-fx", {"metadata": {"annotations": {CLEAR_HALT_ANNOTATION: HALT}}})

        async def told() -> bool:
            return list((await desk.config()).cleared_halts) == [HALT]

        await until("the gateway to be told", told)
        gateway.says(**LOST)
        await desk.condition(VENUES, "sim-fx", "Ready", "True", "LoggedOn")
        await desk.condition(STRATEGIES, "ema", "Trading", "True")
        await desk.holds("0")
        await until("the new record to be on the bus", lambda: on_record(1))

        async def carried_out() -> bool:
            annotations = (await desk.get(VENUES, "sim-fx"))["metadata"].get("annotations", {})
            return CLEAR_HALT_ANNOTATION not in annotations and not (await desk.config()).cleared_halts

        await until("the annotation to be gone: it would clear the next halt of that name", carried_out)
        assert (await desk.told("sim-fx", "HaltCleared"))["type"] == "Normal"
