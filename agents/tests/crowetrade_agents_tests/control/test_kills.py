"""What kill orders become together, whom they stop, and what the joined control says."""

from __future__ import annotations

import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel, Kill, Rearm, decode, joined, rearms, selects, stop_of
from crowetrade_agents.control.state import Configuration, Control, Stop, join
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.reasons import Reason, Refusal

BLOCK, CLOSE_ONLY = kill_pb2.KILL_MODE_BLOCK, kill_pb2.KILL_MODE_CLOSE_ONLY
CANCEL, FLATTEN = kill_pb2.KILL_MODE_CANCEL, kill_pb2.KILL_MODE_FLATTEN
ACTIVE, HALTED = TradingState.ACTIVE, TradingState.HALTED
HFT = kill_pb2.KillScope(strategy_selector=kill_pb2.LabelSelector(match_labels={"team": "hft"}), namespaces_from="Same")
FX = kill_pb2.KillScope(strategy_selector=kill_pb2.LabelSelector(match_labels={"team": "fx"}), namespaces_from="Same")
EVERYBODY_HERE = kill_pb2.KillScope(namespaces_from="Same")


def order(
    mode: kill_pb2.KillMode.ValueType = CANCEL,
    *,
    uid: str = "u1",
    generation: int = 5,
    scope: kill_pb2.KillScope = EVERYBODY_HERE,
) -> kill_pb2.KillOrder:
    return kill_pb2.KillOrder(
        namespace="desk", name="stop", uid=uid, generation=generation, mode=mode, scope=scope, reason="drill"
    )


def no_object(mode: kill_pb2.KillMode.ValueType = CANCEL) -> kill_pb2.KillOrder:
    return order(mode, uid="", generation=0)


UNKNOWN: kill_pb2.KillMode.ValueType = 9  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("why", "current", "new", "channel", "expected"),
    [
        ("any way engages", None, order(), Channel.RPC, order()),
        ("the same again", order(), order(), Channel.BUS, None),
        ("an older order of the object", order(), order(FLATTEN, generation=4), Channel.API, None),
        ("the object changes its mind", order(), order(BLOCK, generation=6), Channel.API, order(BLOCK, generation=6)),
        ("the bus may not loosen", order(), order(BLOCK, generation=6), Channel.BUS, order(generation=6)),
        ("nobody may without the object", order(), no_object(BLOCK), Channel.RPC, None),
        ("harder without the object", order(), no_object(FLATTEN), Channel.RPC, order(FLATTEN)),
        ("another object may not loosen", order(), order(BLOCK, uid="u2"), Channel.API, order(uid="u2")),
        (
            "neither harder nor milder, by the bus",
            order(BLOCK),
            order(CLOSE_ONLY, generation=6),
            Channel.BUS,
            order(CANCEL, generation=6),
        ),
        ("the other way round", order(CLOSE_ONLY), no_object(BLOCK), Channel.RPC, order(CANCEL)),
        ("an object takes it over", no_object(), order(BLOCK, generation=1), Channel.API, order(generation=1)),
        ("somebody else, too", order(scope=HFT), order(scope=FX, generation=6), Channel.BUS, order(generation=6)),
        ("an unknown mode cancels", order(BLOCK), no_object(UNKNOWN), Channel.RPC, order(UNKNOWN)),
    ],
)
def test_what_is_in_force_gets_less_only_by_its_own_object(
    why: str,
    current: kill_pb2.KillOrder | None,
    new: kill_pb2.KillOrder,
    channel: Channel,
    expected: kill_pb2.KillOrder | None,
) -> None:
    assert joined(current, Kill(new, channel), None) == expected, why


def test_a_scope_that_widens_keeps_what_both_have_in_common() -> None:
    all_of_hft = kill_pb2.KillScope(strategy_selector=HFT.strategy_selector, namespaces_from="All")

    found = joined(order(scope=HFT), Kill(order(scope=all_of_hft, generation=6), Channel.BUS), None)

    assert found is not None
    assert found.scope == all_of_hft


@pytest.mark.parametrize(
    ("generation", "engages"), [(4, False), (5, False), (6, True)], ids=["older", "the same", "newer"]
)
def test_an_order_that_was_re_armed_meanwhile_does_not_come_back(generation: int, engages: bool) -> None:
    """The bus may still have what the API server has not."""
    found = joined(None, Kill(order(generation=generation), Channel.BUS), ("u1", 5))
    assert (found is not None) is engages


def test_what_comes_without_the_object_engages_also_after_a_re_arming() -> None:
    assert joined(None, Kill(no_object(), Channel.RPC), ("u1", 5)) is not None


@pytest.mark.parametrize(
    ("uid", "generation", "ends"),
    [("u1", 6, True), ("u1", 5, False), ("u2", 6, False), ("", 0, False)],
    ids=["its object", "not newer", "another object of that name", "no object"],
)
def test_only_its_own_object_re_arms(uid: str, generation: int, ends: bool) -> None:
    assert rearms(order(), Rearm("desk", "stop", uid, generation)) is ends


def test_an_object_that_was_never_engaged_does_not_re_arm_what_came_without_it() -> None:
    """The API server was down when somebody stopped by RPC under a name that exists there, not engaged."""
    assert not rearms(no_object(), Rearm("desk", "stop", "u1", 3))


def test_a_manifest_has_no_uid_and_re_arms_what_has_none() -> None:
    assert rearms(no_object(), Rearm("desk", "stop", "", 0, Channel.MANIFEST))


def test_what_cannot_be_read_stops_everybody() -> None:
    found = decode(b"\xff\xff", "elsewhere", "stop")
    labels = Configuration(bindings={"alpha": ACTIVE}, strategy_labels={"alpha": {"team": "hft"}})
    assert selects(found, labels, "desk", "alpha")
    assert stop_of(found).state is HALTED


@pytest.mark.parametrize(
    ("scope", "namespace", "stopped"),
    [
        (HFT, "desk", ["alpha", "stranger"]),
        (FX, "desk", ["beta", "stranger"]),
        (EVERYBODY_HERE, "desk", ["alpha", "beta", "stranger"]),
        (EVERYBODY_HERE, "other", []),
        (kill_pb2.KillScope(namespaces_from="All"), "other", ["alpha", "beta", "stranger"]),
        (kill_pb2.KillScope(namespaces_from="of a newer version"), "other", ["alpha", "beta", "stranger"]),
    ],
)
def test_whom_a_scope_stops(scope: kill_pb2.KillScope, namespace: str, stopped: list[str]) -> None:
    """A strategy whose labels are not known is selected."""
    labels = {"alpha": {"team": "hft"}, "beta": {"team": "fx"}}
    known = Configuration(bindings=dict.fromkeys(labels, ACTIVE), strategy_labels=labels)
    names = ("alpha", "beta", "stranger")
    assert [name for name in names if selects(order(scope=scope), known, namespace, name)] == stopped


REFUSAL = Refusal(Reason.KILL_SWITCH_ENGAGED, "stop")
MODES = {
    BLOCK: TradingState.BLOCKED,
    CLOSE_ONLY: TradingState.CLOSE_ONLY,
    CANCEL: HALTED,
    FLATTEN: TradingState.FLATTEN,
}
# What a strategy that a kill order stops may do, by its binding.
TABLE = {
    (TradingState.ACTIVE, BLOCK): TradingState.BLOCKED,
    (TradingState.ACTIVE, CLOSE_ONLY): TradingState.CLOSE_ONLY,
    (TradingState.ACTIVE, CANCEL): HALTED,
    (TradingState.ACTIVE, FLATTEN): TradingState.FLATTEN,
    (HALTED, BLOCK): HALTED,
    (HALTED, CLOSE_ONLY): HALTED,
    (HALTED, CANCEL): HALTED,
    (HALTED, FLATTEN): TradingState.FLATTEN,
    (TradingState.FLATTEN, BLOCK): HALTED,
    (TradingState.FLATTEN, CLOSE_ONLY): TradingState.FLATTEN,
    (TradingState.FLATTEN, CANCEL): HALTED,
    (TradingState.FLATTEN, FLATTEN): TradingState.FLATTEN,
}


@pytest.mark.parametrize(("bound", "mode"), TABLE)
@pytest.mark.parametrize("halted", [False, True], ids=["", "halted"])
@pytest.mark.parametrize("leaving", [False, True], ids=["", "leaving"])
def test_the_join_of_kill_binding_halt_and_leaving(
    bound: TradingState, mode: kill_pb2.KillMode.ValueType, halted: bool, leaving: bool
) -> None:
    halts = {"PositionDifference@1": "compare"} if halted else {}
    control = join(Configuration(bindings={"alpha": bound}), halts, leaving, "alpha", (Stop(MODES[mode], REFUSAL),))

    assert control.refusal is not None
    if halted:
        assert (control.state, control.refusal.reason) == (HALTED, Reason.VENUE_HALTED)
    elif leaving and TABLE[bound, mode] is not TradingState.FLATTEN:
        assert control.state is HALTED
    else:
        assert control.state is TABLE[bound, mode]


# What a strategy that is bound may do under two orders, in any order.
BOTH = {
    (BLOCK, CLOSE_ONLY): HALTED,
    (BLOCK, CANCEL): HALTED,
    (BLOCK, FLATTEN): TradingState.FLATTEN,
    (CLOSE_ONLY, CANCEL): HALTED,
    (CLOSE_ONLY, FLATTEN): TradingState.FLATTEN,
    (CANCEL, FLATTEN): TradingState.FLATTEN,
}


@pytest.mark.parametrize(("one", "other"), BOTH)
def test_of_two_kill_orders_what_is_as_hard_as_both_holds(
    one: kill_pb2.KillMode.ValueType, other: kill_pb2.KillMode.ValueType
) -> None:
    known = Configuration(bindings={"alpha": ACTIVE})
    for pair in ((one, other), (other, one)):
        control = join(known, {}, False, "alpha", [Stop(MODES[mode], REFUSAL) for mode in pair])
        assert control == Control(BOTH[one, other], REFUSAL)


def test_the_refusal_is_of_the_order_that_asks_for_so_much() -> None:
    blocks, cancels = (Refusal(Reason.KILL_SWITCH_ENGAGED, text) for text in ("block", "cancel"))
    stopped = [Stop(TradingState.BLOCKED, blocks), Stop(HALTED, cancels)]
    assert join(Configuration(bindings={"alpha": ACTIVE}), {}, False, "alpha", stopped).refusal == cancels


GUESTS = Configuration(
    bindings={"alpha": ACTIVE, "alpha.research": ACTIVE, "beta.live": ACTIVE},
    strategy_labels={"alpha": {"team": "hft"}, "alpha.research": {"team": "fx"}, "beta.live": {"team": "fx"}},
    namespace_labels={"owner": "platform"},
    strategy_namespaces={"research": {"owner": "quants"}, "live": {"owner": "desk"}},
)
BY_OWNER = kill_pb2.KillScope(
    namespaces_from="Selector", namespace_selector=kill_pb2.LabelSelector(match_labels={"owner": "quants"})
)


@pytest.mark.parametrize(
    ("why", "namespace", "scope", "stopped"),
    [
        ("of the venue's namespace, everybody", "venues", EVERYBODY_HERE, ["alpha", "alpha.research", "beta.live"]),
        ("by labels, of every namespace", "venues", FX, ["alpha.research", "beta.live"]),
        ("of their own namespace, its own", "research", EVERYBODY_HERE, ["alpha.research"]),
        ("of a namespace that has nobody here", "elsewhere", EVERYBODY_HERE, []),
        ("by labels of their namespace", "elsewhere", BY_OWNER, ["alpha.research"]),
    ],
)
def test_a_kill_order_stops_strategies_of_other_namespaces_at_this_venue(
    why: str, namespace: str, scope: kill_pb2.KillScope, stopped: list[str]
) -> None:
    found = kill_pb2.KillOrder(namespace=namespace, name="stop", mode=CANCEL, scope=scope)
    assert [name for name in GUESTS.bindings or {} if selects(found, GUESTS, "venues", name)] == stopped, why


def test_before_a_configuration_has_come_an_order_stops_the_strategies_of_its_namespace() -> None:
    found = kill_pb2.KillOrder(namespace="research", name="stop", mode=CANCEL, scope=EVERYBODY_HERE)
    names = ("alpha", "alpha.research", "beta.live")
    assert [name for name in names if selects(found, Configuration(), "venues", name)] == ["alpha.research"]
