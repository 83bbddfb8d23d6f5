"""When a gateway counts as halted, by whatever word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_cli.fleet.gateways import Address
from crowetrade_cli.fleet.order import unique_name
from crowetrade_cli.fleet.progress import Channel, Progress, Row, Stage

FX, B = Address("desk", "sim-fx"), Address("desk", "sim-b")
ORDER = kill_pb2.KillOrder(namespace="desk", name="all", uid="u", generation=3)


def said(gateway: Address = FX, /, **fields: object) -> kill_pb2.KillAcknowledgement:
    """Halted, unless fields say otherwise."""
    values: dict[str, object] = {
        "namespace": "desk",
        "name": "all",
        "generation": 3,
        "seen_unix_ns": 1_000_000,
        "blocked_unix_ns": 2_000_000,
        "halted_unix_ns": 9_000_000,
        "venue_namespace": gateway.namespace,
        "venue": gateway.venue,
    }
    return kill_pb2.KillAcknowledgement(**(values | fields))  # type: ignore[arg-type]


def progress(*expected: Address | str) -> Progress:
    made = Progress()
    made.follow(ORDER)
    made.expect(expected)
    return made


def test_all_that_are_expected_have_to_halt() -> None:
    followed = progress(FX, B)
    followed.acknowledged(said(FX), Channel.DIRECT)
    assert not followed.halted
    followed.acknowledged(said(B, halted_unix_ns=0), Channel.BUS)
    assert [row.stage for row in followed.rows] == [Stage.BLOCKED, Stage.HALTED]
    followed.acknowledged(said(B), Channel.BUS)
    assert followed.halted
    assert [row.milliseconds for row in followed.rows] == [8, 8]


def test_nobody_is_not_everybody() -> None:
    assert not progress().halted


@pytest.mark.parametrize(
    "other",
    [{"name": "fx"}, {"namespace": "other"}, {"generation": 2}],
    ids=["another KillSwitch", "one of another namespace", "an earlier version"],
)
def test_the_word_about_another_order_counts_for_nothing(other: dict[str, object]) -> None:
    followed = progress(FX)
    followed.acknowledged(said(**other), Channel.BUS)
    assert followed.rows == [Row("desk/sim-fx")]


def test_who_has_halted_does_not_go_back_by_an_older_word() -> None:
    followed = progress(FX)
    followed.acknowledged(said(), Channel.DIRECT)
    followed.acknowledged(said(halted_unix_ns=0, still_open_count=4), Channel.BUS)
    assert (followed.rows[0].stage, followed.rows[0].still_open_count) == (Stage.HALTED, 0)


def test_an_address_becomes_the_gateway_that_answers_there() -> None:
    followed = progress("10.0.0.7:50052")
    followed.failed("10.0.0.7:50052", "nobody answers")
    assert followed.rows[0].problem == "nobody answers"
    followed.acknowledged(said(), Channel.DIRECT, "10.0.0.7:50052")
    assert [(row.gateway, row.problem) for row in followed.rows] == [("desk/sim-fx", "")]


def test_what_the_api_server_does_not_know_is_not_waited_for_unless_it_has_spoken() -> None:
    followed = progress(FX, B, "h:1")
    followed.acknowledged(said(B, halted_unix_ns=0), Channel.BUS)
    followed.only([Address("desk", "new")])
    assert [row.gateway for row in followed.rows] == ["desk/new", "desk/sim-b", "h:1"]


def _switch(generation: int = 3, **status: object) -> KillSwitch:
    values = {"observedGeneration": generation, **status}
    return KillSwitch.model_validate(
        {"metadata": {"name": "all", "namespace": "desk", "generation": 3}, "spec": {}, "status": values}
    )


PENDING = {"pending": ["desk/sim-b"]}
REPORTED = {
    "all have halted": (_switch(state="Halted"), [Stage.HALTED, Stage.HALTED]),
    "one is pending": (_switch(state="Engaging", acknowledgements=PENDING), [Stage.WAITING, Stage.HALTED]),
    "the operator has not seen it": (_switch(2, state="Halted"), [Stage.WAITING, Stage.WAITING]),
    "it was armed then": (_switch(state="Armed"), [Stage.WAITING, Stage.WAITING]),
    "more are pending than are named": (
        _switch(state="Engaging", acknowledgements={"pending": [f"desk/v{number}" for number in range(32)]}),
        [Stage.WAITING, Stage.WAITING],
    ),
}


@pytest.mark.parametrize("case", REPORTED)
def test_the_operators_word(case: str) -> None:
    switch, stages = REPORTED[case]
    followed = progress(FX, B)
    followed.reported(switch, [FX, B])
    assert [row.stage for row in followed.rows] == stages


@given(st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True), st.integers(0, 2**62))
def test_a_unique_name_is_a_name_that_says_where_it_comes_from(name: str, now_ns: int) -> None:
    made = unique_name(name, now_ns, "3f9a")
    assert len(made) <= 40
    assert made.startswith(name[:10].rstrip("-"))
    assert made.endswith("-3f9a")
    assert "--" not in made or "--" in name
