"""What stops trading: configurations, halts, lost sessions. What may not stay is cancelled; positions go on
counting."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade.bus.v1 import journal_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration, OnRecord
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects
from crowetrade_agents.gateway.books import Books, recover
from crowetrade_agents.gateway.effects import SendCancel
from crowetrade_agents.gateway.status import gateway_status, is_stopped
from crowetrade_agents.gateway.supervision import MAX_CONFIGURATION_BYTES
from crowetrade_agents.journal.chain import MAX_RECORD_BYTES
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    GBP,
    VENUE,
    Scenario,
    book,
    cl_ord_id,
    configuration,
    kinds,
    rule,
    rule_of,
)
from crowetrade_api.gateway_config import revision_of
from crowetrade_api.names import reason_of_halt

CANCELLED = ["cancel_submitted", "> urgent cancel"]
ACTIVE = {"alpha": TradingState.ACTIVE, "beta": TradingState.ACTIVE}


def _with_resting_order() -> Scenario:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    return scenario


@pytest.mark.parametrize(
    "wanted",
    [
        configuration({"alpha": TradingState.HALTED, "beta": TradingState.ACTIVE}, revision="r2"),
        configuration({"beta": TradingState.ACTIVE}, revision="r2"),
        configuration(halted_reason="VenueSuspended", revision="r2"),
        Configuration(unreadable="not a GatewayConfig"),
        Configuration(),
    ],
    ids=["suspended", "not bound any more", "venue suspended", "unreadable", "deleted"],
)
def test_what_stops_a_strategy_cancels_its_orders_and_refuses_new_ones(wanted: Configuration) -> None:
    scenario = _with_resting_order()

    done = scenario.do(commands.Configure(wanted))

    assert kinds(done)[-2:] == CANCELLED
    assert kinds(scenario.order(2))[0].startswith("< REJECTED")
    assert not is_stopped(scenario.state, "alpha")
    scenario.ended(1)
    assert is_stopped(scenario.state, "alpha")


@pytest.mark.parametrize(
    ("limits", "stays"),
    [
        ({"maxOrderQuantity": "10000"}, True),
        ({"maxOrderQuantity": "9000"}, False),
        ({"maxPositionQuantity": "10000"}, True),
        ({"maxPositionQuantity": "9000"}, False),
        ({"maxOrderNotional": "10900"}, False),
        ({"maxSomethingNew": "1"}, False),
    ],
)
def test_resting_orders_are_judged_again_when_limits_change(limits: dict[str, str], stays: bool) -> None:
    """Finding G8: resting orders outlived a limit that was tightened, deleted or unreadable."""
    scenario = _with_resting_order()

    done = scenario.do(commands.Configure(configuration(None, rule_of(limits), revision="r2")))

    assert ("> urgent cancel" in kinds(done)) is not stays


def test_a_limit_that_is_gone_cancels_what_it_admitted() -> None:
    scenario = _with_resting_order()

    done = scenario.do(commands.Configure(configuration(None, rule(strategies=["beta"]), revision="r2")))

    assert kinds(done)[-2:] == CANCELLED


def test_of_several_orders_the_newest_go_first() -> None:
    scenario = Scenario()
    for number in (1, 2, 3):
        scenario.order(number)
        scenario.accepted(number)

    scenario.do(commands.Configure(configuration(None, rule(maxPositionQuantity="20000"), revision="r2")))

    statuses = [order.status.value for order in (scenario.find(number) for number in (1, 2, 3)) if order]
    assert statuses == ["New", "New", "PendingCancel"]
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 30_000


def _total(*names: str) -> Configuration:
    bindings = dict.fromkeys(names, TradingState.ACTIVE)
    limits = rule(strategies=names, total=True, maxPositionQuantity="20000")
    return configuration(bindings, limits, revision="-".join(names))


@pytest.mark.parametrize(
    "afterwards",
    [_total("beta"), configuration(ACTIVE, rule(strategies=["beta"], total=True, maxPositionQuantity="20000"))],
    ids=["deleted", "relabelled"],
)
def test_a_total_limit_keeps_counting_whoever_held_something(afterwards: Configuration) -> None:
    """Finding K2: 40,000 were held under a limit of 20,000 after the owner of half was deleted or relabelled."""
    scenario = Scenario()
    scenario.do(commands.Configure(_total("alpha", "beta")))
    scenario.order(1, quantity=Decimal(15_000))
    scenario.executed(1, "15000")

    scenario.do(commands.Configure(afterwards))

    assert kinds(scenario.order(1, strategy="beta", quantity=Decimal(6_000))) == ["< REJECTED MaxPositionQuantity"]
    assert kinds(scenario.order(2, strategy="beta", quantity=Decimal(5_000)))[-1] == "< PENDING_NEW"


def test_a_total_limit_counts_nobody_else() -> None:
    scenario = Scenario()
    scenario.order(1, quantity=Decimal(15_000))
    scenario.executed(1, "15000")
    of_beta = rule("beta-alone", strategies=["beta"], total=True, maxPositionQuantity="20000")

    scenario.do(commands.Configure(configuration(ACTIVE, rule(), of_beta, revision="r2")))

    assert kinds(scenario.order(1, strategy="beta", quantity=Decimal(21_000))) == ["< REJECTED MaxPositionQuantity"]
    assert kinds(scenario.order(2, strategy="beta", quantity=Decimal(20_000)))[-1] == "< PENDING_NEW"


def test_whom_a_limit_counts_survives_a_restart() -> None:
    scenario = Scenario()
    scenario.do(commands.Configure(_total("alpha", "beta")))
    scenario.order(1, quantity=Decimal(15_000))
    scenario.executed(1, "15000")

    successor = Scenario(books=recover(VENUE, None, scenario.events), ready=False)
    relabelled = rule(strategies=["beta"], total=True, maxPositionQuantity="20000")
    successor.do(commands.Configure(configuration(ACTIVE, relabelled, revision="r3")))
    successor.do(commands.VenueConnected(port.VenueSnapshot()))
    successor.venue(port.QuoteChanged(1, book()))
    successor.do(commands.Logon("beta", 1))

    assert kinds(successor.order(1, strategy="beta", quantity=Decimal(6_000))) == ["< REJECTED MaxPositionQuantity"]


def test_a_lost_session_has_its_orders_cancelled_in_time_unless_it_comes_back() -> None:
    scenario = _with_resting_order()
    scenario.do(commands.SessionLost("alpha", 1))
    scenario.later(4.9)
    scenario.do(commands.Logon("alpha", 3))
    assert "> urgent cancel" not in kinds(scenario.later(1))

    scenario.do(commands.SessionLost("alpha", 3))

    assert "> urgent cancel" not in kinds(scenario.later(4.9))
    assert kinds(scenario.later(0.1)) == CANCELLED


def test_a_venue_that_comes_back_does_not_give_a_lost_session_more_time() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.do(commands.SessionLost("alpha", 1))
    scenario.later(3)
    scenario.do(commands.VenueConnected(port.VenueSnapshot()))

    assert kinds(scenario.later(2)) == CANCELLED


def test_the_end_of_an_older_session_means_nothing() -> None:
    scenario = _with_resting_order()
    scenario.do(commands.Logon("alpha", 3))  # takes over from session 1
    scenario.do(commands.SessionLost("alpha", 1))

    assert "> urgent cancel" not in kinds(scenario.later(6))


def test_orders_of_strategies_that_never_come_back_after_a_restart_are_cancelled() -> None:
    before = _with_resting_order()
    successor = Scenario(books=recover(VENUE, None, before.events), ready=False)
    successor.now = before.now
    successor.do(commands.Configure(configuration()))
    order = port.OpenOrder(
        cl_ord_id(1),
        "v1",
        EUR,
        Side.BUY,
        Decimal(10_000),
        Decimal("1.1"),
        Decimal(0),
        successor.books.open[cl_ord_id(1)].base,
    )
    successor.do(commands.VenueConnected(port.VenueSnapshot(open_orders=(order,))))

    assert kinds(successor.later(5))[-2:] == CANCELLED


def test_a_session_that_was_lost_while_the_venue_was_away_counts_when_it_is_back() -> None:
    scenario = _with_resting_order()
    scenario.do(commands.SessionLost("alpha", 1))
    scenario.venue(port.SessionChanged(port.SessionState.DISCONNECTED, "gone"))
    assert "> urgent cancel" not in kinds(scenario.later(6))

    scenario.do(commands.VenueConnected(port.VenueSnapshot()))

    assert kinds(scenario.last)[-2:] == CANCELLED
    assert scenario.events[-1].cancel_submitted.reason == "SessionLost"


def test_cancels_that_were_due_while_the_venue_was_away_leave_when_it_is_back() -> None:
    scenario = _with_resting_order()
    scenario.venue(port.SessionChanged(port.SessionState.DISCONNECTED, "gone"))
    scenario.do(commands.Configure(configuration(halted_reason="VenueSuspended", revision="r2")))
    assert scenario.find() is not None
    assert "> urgent cancel" not in kinds(scenario.last)
    order = port.OpenOrder(
        cl_ord_id(1),
        "v1",
        EUR,
        Side.BUY,
        Decimal(10_000),
        Decimal("1.1"),
        Decimal(0),
        scenario.books.open[cl_ord_id(1)].base,
    )

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot(open_orders=(order,))))

    assert kinds(done) == CANCELLED


RECORDS = [
    # (fencing token, sequence, pod) on record -> does a gateway with session 4 that read 100 events halt?
    (OnRecord(3, 100, "pod-0"), False),
    (OnRecord(0, 0, ""), False),
    (OnRecord(4, 101, "pod-1"), False),
    # The same pod had this token before: its container was restarted after the bus came back empty.
    (OnRecord(4, 500, "pod-1"), True),
    (OnRecord(4, 90, "pod-0"), True),
    (OnRecord(7, 100, "pod-0"), True),
    (OnRecord(3, 101, "pod-0"), True),
]


def _after_three_sessions() -> Scenario:
    """The fourth, of pod-1, whose journal ended at event 100; it has no configuration yet."""
    books = Books(VENUE)
    for token in (1, 2, 3):
        started = journal_pb2.SessionStarted(pod=f"pod-{token}", fencing_token=token)
        books.apply(journal_pb2.JournalEvent(session_started=started))
    scenario = Scenario(books=books, ready=False)
    scenario.state.live.start_sequence, scenario.state.live.sequence = 100, 101
    return scenario


@pytest.mark.parametrize(("record", "halts"), RECORDS)
def test_a_journal_below_what_is_on_record_halts(record: OnRecord, halts: bool) -> None:
    """Finding G16: a journal that came back empty meant "flat", and trading went on from zero."""
    scenario = _after_three_sessions()

    scenario.do(commands.Configure(configuration(on_record=record)))

    status = gateway_status(scenario.state, 101, 0, (), scenario.now)
    assert status.blocked_reason == ("JournalBelowRecord" if halts else "")
    if halts:
        assert status.blocked_message.startswith(
            f"JournalBelowRecord@102: the journal ends at event 100 of session 3, but the operator has event "
            f"{record.sequence} of session {record.fencing_token} on record: what happened since is not known. Restore "
            "the journal, or compare the account with the venue; then annotate"
        )


RESTORED = OnRecord(9, 900, "pod-9")


@pytest.mark.parametrize(
    ("records", "halts"),
    [
        # The backup holds the configuration too, with a record as old as the journal.
        ([OnRecord(3, 100, "pod-0"), RESTORED], True),
        ([OnRecord(), OnRecord(3, 90, "pod-0"), OnRecord(3, 101, "pod-0")], True),
        # The operator writes what its predecessor reported last, late.
        ([OnRecord(3, 90, "pod-0"), OnRecord(3, 100, "pod-0"), OnRecord(4, 101, "pod-1")], False),
        ([OnRecord(), OnRecord(3, 100, "pod-0")], False),
        # Once it is its own, all that is newer is its own.
        ([OnRecord(4, 101, "pod-1"), OnRecord(4, 900, "pod-1")], False),
    ],
)
def test_the_record_is_compared_until_it_is_this_gateways_own(records: list[OnRecord], halts: bool) -> None:
    scenario = _after_three_sessions()

    for number, record in enumerate(records):
        assert not scenario.books.halts
        scenario.do(commands.Configure(configuration(revision=f"r{number}", on_record=record)))

    assert [reason_of_halt(halt) for halt in scenario.books.halts] == (["JournalBelowRecord"] if halts else [])


def test_a_gateway_whose_halt_was_cleared_is_not_halted_again_by_the_same_record() -> None:
    scenario = _after_three_sessions()
    scenario.do(commands.Configure(configuration(on_record=RESTORED)))
    cleared = frozenset({"JournalBelowRecord@102"})

    scenario.do(commands.Configure(configuration(revision="r2", on_record=RESTORED, cleared_halts=cleared)))
    scenario.do(commands.Configure(configuration(revision="r3", on_record=RESTORED)))

    assert not scenario.books.halts


def test_a_halt_is_cleared_by_its_name_alone_and_survives_a_restart() -> None:
    scenario = Scenario()
    scenario.executed(99, exec_id="foreign")
    (halt,) = scenario.books.halts
    assert halt == f"UnknownExecution@{len(scenario.events)}"

    successor = Scenario(books=recover(VENUE, None, scenario.events))
    assert kinds(successor.order(1))[0] == "< REJECTED VenueHalted"
    successor.do(commands.Configure(configuration(cleared_halts=frozenset({"UnknownExecution@9"}), revision="r2")))
    assert kinds(successor.order(2))[0] == "< REJECTED VenueHalted"
    successor.do(commands.Configure(configuration(cleared_halts=frozenset({halt}), revision="r3")))
    assert kinds(successor.order(3))[-1] == "< PENDING_NEW"


def test_what_is_found_later_for_the_same_reason_takes_the_place_of_the_halt_before_it() -> None:
    scenario = Scenario()
    scenario.executed(99, exec_id="first")
    (first,) = scenario.books.halts

    done = scenario.executed(99, exec_id="second")

    assert "second" in next(dict(effect.fields)["text"] for effect in done if isinstance(effect, effects.Tell))
    ((second, text),) = scenario.books.halts.items()
    assert second != first
    assert "execution second" in text
    assert "not the first" in text
    scenario.do(commands.Configure(configuration(cleared_halts=frozenset({first}), revision="r2")))
    assert kinds(scenario.order(1))[0] == "< REJECTED VenueHalted"


def test_one_clearance_clears_no_later_halt_for_the_same_reason() -> None:
    """A configuration that still names the first one may come after the second one."""
    scenario = Scenario()
    scenario.executed(99, exec_id="first")
    cleared = frozenset(scenario.books.halts)
    scenario.do(commands.Configure(configuration(cleared_halts=cleared, revision="r2")))
    assert not scenario.books.halts

    scenario.executed(99, exec_id="second")
    scenario.do(commands.Configure(configuration(cleared_halts=cleared, revision="r3")))

    assert scenario.books.halts


def test_the_same_difference_at_each_logon_is_one_halt() -> None:
    scenario = Scenario()
    held = commands.VenueConnected(port.VenueSnapshot((), (), positions={EUR: Decimal(5)}))
    assert "halt_changed" in kinds(scenario.do(held))
    assert "halt_changed" not in kinds(scenario.do(held))
    assert len(scenario.books.halts) == 1


def test_leaving_cancels_everything_and_takes_nothing_new() -> None:
    scenario = _with_resting_order()

    assert kinds(scenario.do(commands.Leave())) == CANCELLED
    assert kinds(scenario.order(2)) == ["< REJECTED GatewayStopping"]


def test_in_an_instrument_that_it_names_no_more_a_strategy_may_only_reduce() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000")
    scenario.do(_naming("GBP-USD"))

    assert kinds(scenario.order(2)) == ["< REJECTED CloseOnly"]
    assert kinds(scenario.order(3, side=Side.SELL, quantity=Decimal(11_000))) == ["< REJECTED CloseOnly"]
    assert kinds(scenario.order(4, side=Side.SELL))[-1] == "< PENDING_NEW"
    assert kinds(scenario.order(5, instrument=GBP))[-1] == "< PENDING_NEW"
    scenario.do(_naming("EUR-USD", "GBP-USD", revision="r3"))
    assert kinds(scenario.order(6))[-1] == "< PENDING_NEW"


def test_what_rests_in_an_instrument_that_it_names_no_more_is_cancelled_unless_it_reduces() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000")
    scenario.order(2)
    scenario.order(3, side=Side.SELL, price=Decimal("1.2"))
    scenario.order(4, instrument=GBP)
    for number in (2, 3, 4):
        scenario.accepted(number)

    scenario.do(_naming("GBP-USD"))

    cancels = [item.cancel.orig_cl_ord_id for item in scenario.last if isinstance(item, SendCancel)]
    assert cancels == [cl_ord_id(2)]


def test_a_strategy_of_which_it_is_not_said_what_it_trades_opens_nothing() -> None:
    scenario = Scenario()
    scenario.do(commands.Configure(configuration(tradable={}, revision="r2")))
    assert kinds(scenario.order(1)) == ["< REJECTED CloseOnly"]


def _naming(*symbols: str, revision: str = "r2") -> commands.Configure:
    """Alpha trades these."""
    return commands.Configure(configuration(tradable={"alpha": frozenset(symbols)}, revision=revision))


def test_a_configuration_is_journaled_once() -> None:
    scenario = Scenario()

    assert scenario.state.live.configured
    again = scenario.do(commands.Configure(configuration()))
    changed = scenario.do(commands.Configure(configuration(revision="r2")))

    assert kinds(again) == []
    assert kinds(changed) == ["configuration_applied"]


def _message(strategies: int = 1, label: str = "fx") -> config_pb2.GatewayConfig:
    """What the operator sends; the first strategy is alpha."""
    names = ["alpha", *(f"strategy-{number:04}" for number in range(1, strategies))]
    message = config_pb2.GatewayConfig(
        strategies=[
            config_pb2.StrategyBinding(
                strategy=name, state=config_pb2.TRADING_STATE_ACTIVE, labels={"desk": label}, symbols=["EUR-USD"]
            )
            for name in names
        ],
        rules=[rule(strategies=names, maxOrderQuantity="1000000")],
    )
    message.revision = revision_of(message)
    return message


def test_the_configuration_is_journaled_as_it_came() -> None:
    scenario, message = Scenario(), _message()
    message.on_record.sequence = 7

    scenario.do(commands.Configure(decode(message.SerializeToString())))
    message.on_record.sequence = 8
    again = scenario.do(commands.Configure(decode(message.SerializeToString())))

    applied = scenario.folded().configuration
    message.ClearField("on_record")
    assert applied.config == message
    assert [(item.symbol, item.currency, item.multiplier) for item in applied.instruments] == [
        ("EUR-USD", "USD", "1"),
        ("GBP-USD", "USD", "1"),
    ]
    # What the operator has on record changes all the time, and is not worth a line.
    assert kinds(again) == []


def test_a_configuration_survives_in_a_snapshot() -> None:
    scenario = Scenario()
    scenario.do(commands.Configure(decode(_message().SerializeToString())))

    restored = Books.from_message(VENUE, scenario.books.to_message())

    assert restored.configuration == scenario.books.configuration


def test_a_configuration_that_fits_into_no_record_is_left_out_and_the_gateway_goes_on() -> None:
    scenario, message = Scenario(), _message(strategies=1600, label="x" * (MAX_CONFIGURATION_BYTES // 1600))

    scenario.do(commands.Configure(decode(message.SerializeToString())))

    applied = scenario.folded().configuration
    assert applied.revision == message.revision
    assert not applied.HasField("config")
    assert scenario.events[-1].ByteSize() < MAX_RECORD_BYTES
    assert kinds(scenario.order(1))[-1] == "< PENDING_NEW"


@pytest.mark.parametrize("between", [Configuration(unreadable="not a GatewayConfig"), Configuration()])
def test_a_configuration_that_cannot_be_read_does_not_make_a_limit_forget_whom_it_counted(
    between: Configuration,
) -> None:
    scenario = Scenario()
    scenario.do(commands.Configure(_total("alpha", "beta")))
    scenario.order(1, quantity=Decimal(15_000))
    scenario.executed(1, "15000")

    scenario.do(commands.Configure(between))
    relabelled = rule(strategies=["beta"], total=True, maxPositionQuantity="20000")
    scenario.do(commands.Configure(configuration(ACTIVE, relabelled, revision="r3")))

    assert kinds(scenario.order(1, strategy="beta", quantity=Decimal(6_000))) == ["< REJECTED MaxPositionQuantity"]


def test_a_late_fill_of_a_deleted_strategy_counts_for_total_limits() -> None:
    scenario = Scenario()
    scenario.do(commands.Configure(_total("alpha", "beta")))
    scenario.order(1, quantity=Decimal(15_000))
    scenario.accepted(1)
    scenario.ended(1)
    scenario.do(commands.Configure(_total("beta")))

    scenario.executed(1, "15000", "late")

    assert kinds(scenario.order(1, strategy="beta", quantity=Decimal(6_000))) == ["< REJECTED MaxPositionQuantity"]
    assert scenario.folded().members == scenario.books.members
