"""Kill orders at the engine: what leaves afterwards, what is cancelled, and what the acknowledgement says."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Caller, Channel, Kill, Rearm
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, kill_progress
from crowetrade_agents.gateway.books import Books, recover
from crowetrade_agents.gateway.effects import Append
from crowetrade_agents.gateway.status import gateway_status
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    SECOND,
    VENUE,
    Scenario,
    book,
    cl_ord_id,
    configuration,
    kinds,
    rule,
)

NAME = ("cl-research", "stop")
MODES = {
    "Block": kill_pb2.KILL_MODE_BLOCK,
    "CloseOnly": kill_pb2.KILL_MODE_CLOSE_ONLY,
    "Cancel": kill_pb2.KILL_MODE_CANCEL,
    "Flatten": kill_pb2.KILL_MODE_FLATTEN,
    "of a newer version": 99,
}
ALPHA = kill_pb2.KillScope(strategy_selector=kill_pb2.LabelSelector(match_labels={"team": "a"}), namespaces_from="Same")


def kill(
    mode: str = "Cancel",
    *,
    uid: str = "u1",
    generation: int = 5,
    scope: kill_pb2.KillScope | None = None,
    channel: Channel = Channel.RPC,
) -> Kill:
    order = kill_pb2.KillOrder(
        namespace=NAME[0],
        name=NAME[1],
        uid=uid,
        generation=generation,
        mode=MODES[mode],  # type: ignore[arg-type]
        scope=scope or kill_pb2.KillScope(namespaces_from="Same"),
        reason="drill",
        engaged_by="jane",
    )
    return Kill(order, channel)


def said(scenario: Scenario) -> kill_pb2.KillAcknowledgement:
    return kill_progress.acknowledgement(scenario.state, NAME)


def labelled(scenario: Scenario) -> None:
    labels = {"alpha": {"team": "a"}, "beta": {"team": "b"}}
    scenario.do(commands.Configure(replace(configuration(revision="r2"), strategy_labels=labels)))


def resting(*numbers: int, scenario: Scenario | None = None) -> Scenario:
    scenario = scenario or Scenario()
    for number in numbers:
        scenario.order(number)
        scenario.accepted(number)
    return scenario


@pytest.mark.parametrize(
    ("mode", "stays"),
    [("Block", True), ("CloseOnly", False), ("Cancel", False), ("Flatten", False), ("of a newer version", False)],
)
def test_what_a_mode_does_to_what_rests_and_to_what_is_new(mode: str, stays: bool) -> None:
    """The resting order opens a position, so CloseOnly lets it stay no more than Cancel does."""
    scenario = resting(1)

    done = scenario.do(kill(mode))

    assert kinds(done)[0] == "kill_changed"
    assert ("> urgent cancel" in kinds(done)) is not stays
    assert kinds(scenario.order(2)) == ["< REJECTED KillSwitchEngaged"]


def relabelled(scenario: Scenario, revision: str, **labels: str) -> None:
    teams = {name: {"team": team} for name, team in labels.items()}
    scenario.do(commands.Configure(replace(configuration(revision=revision), strategy_labels=teams)))


def test_other_labels_take_nobody_out_of_an_engaged_killswitch() -> None:
    scenario = Scenario()
    labelled(scenario)
    scenario.do(kill("Block", scope=ALPHA))
    assert list(said(scenario).strategies) == ["alpha"]

    relabelled(scenario, "r3", alpha="b", beta="b")

    assert list(said(scenario).strategies) == ["alpha"]
    assert kinds(scenario.order(2)) == ["< REJECTED KillSwitchEngaged"]
    assert "> order" in kinds(scenario.order(1, strategy="beta"))
    restarted = Scenario(books=recover(VENUE, scenario.books.to_message(), ()), ready=False)
    relabelled(restarted, "r4", alpha="b", beta="b")
    assert restarted.state.control("alpha").refusal == scenario.state.control("alpha").refusal
    assert [entry.name for entry in gateway_status(restarted.state, 0, 0, (), restarted.now).kills] == ["stop"]
    restarted.do(Rearm(*NAME, "u1", 6))
    assert restarted.state.control("alpha").state is TradingState.ACTIVE


def test_who_gets_the_labels_is_stopped_and_stays_so_and_a_harder_order_stops_the_same() -> None:
    scenario = Scenario()
    labelled(scenario)
    scenario.do(kill("Block", scope=ALPHA))
    relabelled(scenario, "r3", alpha="a", beta="b")
    assert list(said(scenario).strategies) == ["alpha"]
    relabelled(scenario, "r4", alpha="b", beta="a")
    relabelled(scenario, "r5", alpha="b", beta="b")
    scenario.do(kill("Cancel", scope=ALPHA, generation=6, channel=Channel.API))
    assert list(said(scenario).strategies) == ["alpha", "beta"]
    assert scenario.state.control("beta").state is TradingState.HALTED
    assert scenario.folded().kills == scenario.books.kills


def test_whose_labels_are_not_known_yet_is_stopped_only_until_they_are() -> None:
    scenario = Scenario(ready=False)
    scenario.do(kill("Block", scope=ALPHA))
    labelled(scenario)
    assert list(said(scenario).strategies) == ["alpha"]


def test_before_the_kill_switches_of_the_api_server_are_read_everybody_counts_as_stopped() -> None:
    scenario = resting(1)
    scenario.state.live.kill_switches_unread = True

    done = scenario.do(commands.Configure(configuration(revision="r2")))

    assert "> urgent cancel" in kinds(done)
    assert kinds(scenario.order(2)) == ["< REJECTED KillSwitchEngaged"]
    assert scenario.state.control("beta").state is TradingState.HALTED
    scenario.do(commands.KillSwitchesListed())
    assert "> order" in kinds(scenario.order(3))


def test_what_is_read_of_the_api_server_stops_on() -> None:
    scenario = Scenario()
    scenario.state.live.kill_switches_unread = True
    scenario.do(kill("Flatten", channel=Channel.API))
    assert scenario.state.control("alpha").state is TradingState.FLATTEN
    scenario.do(commands.KillSwitchesListed())
    assert kinds(scenario.order(2)) == ["< REJECTED KillSwitchEngaged"]


# What leaves and what stays under each mode, and under two at once: a new order that opens a position, one that closes
# it; one at rest that opens, one that closes; and whether the gateway closes by itself.
LEFT: dict[tuple[str, ...], tuple[bool, bool, bool, bool, bool]] = {
    (): (True, True, True, True, False),
    ("Block",): (False, False, True, True, False),
    ("CloseOnly",): (False, True, False, True, False),
    ("Cancel",): (False, False, False, False, False),
    ("Flatten",): (False, False, False, False, True),
    ("Block", "CloseOnly"): (False, False, False, False, False),
    ("Block", "Cancel"): (False, False, False, False, False),
    ("Block", "Flatten"): (False, False, False, False, True),
    ("CloseOnly", "Cancel"): (False, False, False, False, False),
    ("CloseOnly", "Flatten"): (False, False, False, False, True),
    ("Cancel", "Flatten"): (False, False, False, False, True),
}


@pytest.mark.parametrize("modes", LEFT, ids=" and ".join)
@pytest.mark.parametrize("backwards", [False, True], ids=["", "the other way round"])
def test_what_is_left_to_a_strategy(modes: tuple[str, ...], backwards: bool) -> None:
    new_opens, new_closes, rest_opens, rest_closes, flattens = LEFT[modes]
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000")
    resting(2, scenario=scenario)
    scenario.order(3, side=Side.SELL, quantity=Decimal(4000))
    scenario.accepted(3)

    for mode in reversed(modes) if backwards else modes:
        command = kill(mode)
        command.order.name = f"stop-{mode.lower()}"
        scenario.do(command)

    def stays(number: int) -> bool:
        return scenario.books.open[cl_ord_id(number)].cancel is None

    assert (stays(2), stays(3)) == (rest_opens, rest_closes)
    for number in (2, 3):
        if not stays(number):
            scenario.ended(number)
    closing = [order for order in scenario.books.open.values() if order.terms.closing]
    assert bool(closing) is flattens
    assert (kinds(scenario.order(4))[0] == "order_submitted") is new_opens
    closes = kinds(scenario.order(5, side=Side.SELL, quantity=Decimal(4000)))
    assert (closes[0] == "order_submitted") is new_closes


@pytest.mark.parametrize("mode", ["CloseOnly"])
def test_close_only_lets_reduce(mode: str) -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000")

    scenario.do(kill(mode))

    assert kinds(scenario.order(2, side=Side.SELL, quantity=Decimal(4000)))[0] == "order_submitted"


def test_blocked_a_strategy_may_cancel_and_not_replace() -> None:
    scenario = resting(1)
    scenario.do(kill("Block"))

    assert kinds(scenario.replace(1, 2)) == ["< CANCEL_REJECT KillSwitchEngaged"]
    assert kinds(scenario.cancel(1, 3))[:2] == ["cancel_submitted", "> cancel"]


def test_blocked_a_tighter_limit_still_cancels_what_it_does_not_admit() -> None:
    scenario = resting(1)
    scenario.do(kill("Block"))

    done = scenario.do(commands.Configure(configuration(None, rule(maxOrderQuantity="9000"), revision="r2")))

    assert "> urgent cancel" in kinds(done)


def test_flatten_closes_by_reducing_orders() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000")

    done = scenario.do(kill("Flatten"))

    assert kinds(done)[:3] == ["kill_changed", "order_submitted", "> order"]
    (order,) = scenario.books.open.values()
    assert (order.terms.side, order.terms.quantity, order.terms.closing) == (Side.SELL, Decimal(10_000), True)


def test_it_stops_whom_it_selects_and_nobody_else() -> None:
    scenario = Scenario()
    labelled(scenario)
    resting(1, scenario=scenario)
    scenario.order(1, strategy="beta")
    scenario.accepted(1, "beta")

    done = scenario.do(kill(scope=ALPHA))

    assert kinds(done).count("> urgent cancel") == 1
    assert said(scenario).strategies == ["alpha"]
    assert kinds(scenario.order(2, strategy="beta"))[0] == "order_submitted"
    assert kinds(scenario.order(2))[0] == "< REJECTED KillSwitchEngaged"


def test_a_strategy_that_is_relabelled_into_it_is_stopped() -> None:
    scenario = Scenario()
    labelled(scenario)
    scenario.order(1, strategy="beta")
    scenario.accepted(1, "beta")
    scenario.do(kill(scope=ALPHA))
    labels = {"alpha": {"team": "a"}, "beta": {"team": "a"}}

    done = scenario.do(commands.Configure(replace(configuration(revision="r3"), strategy_labels=labels)))

    assert "> urgent cancel" in kinds(done)
    assert said(scenario).still_open == [cl_ord_id(1, "beta")]
    assert said(scenario).halted_unix_ns == 0


def test_the_acknowledgement_follows_the_venue() -> None:
    """Blocked once the venue has answered what had left before, halted once nothing is open."""
    scenario = resting(1, 2)
    scenario.order(3)
    scenario.now += SECOND

    scenario.do(kill())

    seen = scenario.now
    first = said(scenario)
    assert (first.seen_unix_ns, first.blocked_unix_ns, first.halted_unix_ns) == (seen, 0, 0)
    assert (first.cancels_sent, first.cancels_confirmed, first.still_open_count) == (3, 0, 3)
    assert first.problem == f"the venue has not answered 1 orders that had left before, such as {cl_ord_id(3)}"
    scenario.now += SECOND
    scenario.accepted(3)
    assert said(scenario).blocked_unix_ns == seen + SECOND
    assert said(scenario).problem == ""
    for number in (1, 2, 3):
        assert said(scenario).still_open == [cl_ord_id(item) for item in range(number, 4)]
        assert said(scenario).halted_unix_ns == 0
        scenario.now += SECOND
        scenario.ended(number)
    last = said(scenario)
    assert (last.cancels_sent, last.cancels_confirmed, last.still_open_count) == (3, 3, 0)
    assert last.halted_unix_ns == seen + 4 * SECOND
    assert (last.channel, last.generation, last.engaged_by, last.reason) == ("Rpc", 5, "jane", "drill")
    assert (last.venue_namespace, last.venue) == ("cl-research", VENUE)


def test_orders_that_the_venue_has_answered_are_not_named_as_unanswered() -> None:
    scenario = Scenario()
    for number in (1, 2, 3):
        scenario.order(number)
    scenario.do(kill("Block"))
    named = []
    for number in (1, 3, 2):
        scenario.accepted(number)
        named.append(said(scenario).problem)

    tail = "orders that had left before, such as"
    assert named == [
        f"the venue has not answered 2 {tail} {cl_ord_id(2)}",
        f"the venue has not answered 1 {tail} {cl_ord_id(2)}",
        "",
    ]
    assert said(scenario).blocked_unix_ns


def test_a_replacement_under_way_keeps_it_from_being_blocked() -> None:
    scenario = resting(1)
    scenario.replace(1, 2)
    scenario.do(kill("Block"))
    assert said(scenario).blocked_unix_ns == 0

    scenario.venue(port.Replaced(cl_ord_id(2), cl_ord_id(1), "v1", scenario.now))

    assert said(scenario).blocked_unix_ns == said(scenario).halted_unix_ns == scenario.now


def test_without_a_session_it_says_so_and_cancels_with_the_next_one() -> None:
    scenario = resting(1)
    scenario.venue(port.SessionChanged(port.SessionState.DISCONNECTED, "cut off"))

    done = scenario.do(kill())

    assert "> urgent cancel" not in kinds(done)
    assert said(scenario).problem.startswith("there is no session with the venue (cut off)")
    working = port.OpenOrder(
        cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), OrdStatus.NEW
    )
    assert "> urgent cancel" in kinds(scenario.do(commands.VenueConnected(port.VenueSnapshot((working,)))))
    scenario.ended(1)
    assert said(scenario).halted_unix_ns == scenario.now


def test_of_many_that_are_open_the_first_are_named() -> None:
    scenario = resting(*range(1, 41))
    scenario.do(kill())
    assert (len(said(scenario).still_open), said(scenario).still_open_count) == (32, 40)


def test_the_same_order_again_is_journaled_once() -> None:
    scenario = resting(1)
    scenario.do(kill())
    for channel in Channel:
        assert kinds(scenario.do(kill(channel=channel))) == []
    assert said(scenario).channel == "Rpc"


def test_only_its_object_re_arms_it() -> None:
    scenario = resting(1)
    scenario.do(kill())
    for wrong in (Rearm(*NAME, "u2", 9), Rearm(*NAME, "u1", 5), Rearm(*NAME, "", 0)):
        assert kinds(scenario.do(wrong)) == []
    assert kinds(scenario.order(2)) == ["< REJECTED KillSwitchEngaged"]

    assert kinds(scenario.do(Rearm(*NAME, "u1", 6))) == ["kill_changed"]

    assert not scenario.state.live.kills
    assert kinds(scenario.order(3))[0] == "order_submitted"
    assert kinds(scenario.do(kill(channel=Channel.BUS))) == []
    assert kinds(scenario.do(kill(generation=7, channel=Channel.BUS)))[0] == "kill_changed"


def test_a_flatten_that_is_re_armed_closes_no_more() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000")
    scenario.do(kill("Flatten"))

    done = scenario.do(Rearm(*NAME, "u1", 6))

    assert "> urgent cancel" in kinds(done)
    assert not scenario.state.live.closing


def _restarted(scenario: Scenario, books: Books | None = None) -> Scenario:
    successor = Scenario(books=books or recover(VENUE, None, scenario.events), ready=False)
    successor.do(commands.Configure(configuration()))
    return successor


@pytest.mark.parametrize("snapshot", [False, True], ids=["by events", "by a snapshot"])
def test_it_survives_a_restart_and_is_not_halted_before_the_venue_was_asked(snapshot: bool) -> None:
    scenario = resting(1)
    scenario.do(kill())
    books = Books.from_message(VENUE, scenario.books.to_message()) if snapshot else None

    successor = _restarted(scenario, books)

    assert (said(successor).channel, said(successor).halted_unix_ns) == ("Journal", 0)
    assert said(successor).still_open == [cl_ord_id(1)]
    successor.do(commands.VenueConnected(port.VenueSnapshot()))
    state = port.OrderState(
        cl_ord_id(1), cl_ord_id(1), "v1", OrdStatus.CANCELED, Decimal(10_000), Decimal("1.1"), Decimal(0), 1
    )
    successor.venue(state)
    assert said(successor).halted_unix_ns == successor.now
    successor.venue(port.QuoteChanged(1, book()))
    successor.do(commands.Logon("alpha", 1))
    assert kinds(successor.order(2)) == ["< REJECTED KillSwitchEngaged"]


def test_the_status_has_those_that_are_stored_and_concern_the_gateway() -> None:
    scenario = resting(1)
    elsewhere = kill_pb2.KillOrder(namespace="other", name="stop", scope=kill_pb2.KillScope(namespaces_from="Same"))
    scenario.do(kill())
    scenario.do(Kill(elsewhere, Channel.BUS))
    assert not gateway_status(scenario.state, 1, 0, (), scenario.now).kills

    for progress in scenario.state.live.kills.values():
        progress.stored = True

    assert [item.name for item in gateway_status(scenario.state, 1, 0, (), scenario.now).kills] == ["stop"]
    assert [item.namespace for item in gateway_status(scenario.state, 1, 0, (), scenario.now).kills] == [NAME[0]]


def test_who_called_is_in_the_journal_and_stays_when_whom_it_stops_is_noted_and_not_at_another_order() -> None:
    scenario = Scenario()
    labelled(scenario)
    alice = Caller("spiffe://t/ns/people/sa/alice", "ab12")
    scenario.do(replace(kill("Block", scope=ALPHA), caller=alice))
    relabelled(scenario, "r4", alpha="b", beta="a")
    recorded = [effect.event for effect in scenario.effects if isinstance(effect, Append)]
    changes = [event.kill_changed for event in recorded if event.HasField("kill_changed")]
    assert list(changes[-1].strategies) == ["alpha", "beta"]
    assert {(change.caller, change.caller_certificate_sha256) for change in changes} == {(alice.name, "ab12")}
    scenario.do(kill("Flatten", scope=ALPHA, generation=6, channel=Channel.API))
    assert scenario.books.kills[NAME].caller == ""
    assert scenario.folded().kills == scenario.books.kills


def test_the_journal_alone_gives_the_same_orders_in_force() -> None:
    scenario = resting(1)
    scenario.do(kill("Block"))
    scenario.do(kill("Flatten", generation=6))
    assert scenario.folded().kills == scenario.books.kills
    assert scenario.books.kills[NAME].order.mode == kill_pb2.KILL_MODE_FLATTEN
    recorded = [effect.event for effect in scenario.effects if isinstance(effect, Append)]
    assert [event.kill_changed.channel for event in recorded if event.HasField("kill_changed")] == ["Rpc", "Rpc"]


def test_a_strategy_that_no_configuration_names_is_stopped_too() -> None:
    scenario = resting(1)
    scenario.do(commands.Configure(configuration({"beta": TradingState.ACTIVE}, revision="r2")))
    scenario.do(kill(scope=ALPHA))
    assert "alpha" in said(scenario).strategies
