"""A few hundred short seeds of the simulation, always the same ones; `make simulate` runs others."""

from __future__ import annotations

import multiprocessing
from decimal import Decimal

import pytest

from crowetrade.bus.v1 import journal_pb2, market_data_pb2, orders_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.limits import KNOWN
from tests.simulation import isolation, mutants
from tests.simulation.__main__ import Run, attempt, run
from tests.simulation.accounts import Accounts, KillInForce, NotSent, Refused
from tests.simulation.broken import Broken
from tests.simulation.gateway import GatewayProcess
from tests.simulation.limits import ConfigSpec, KillSpec, RuleSpec
from tests.simulation.market import Seen
from tests.simulation.world import Wanted, World

FIRST = 20_500
SEEDS = 200
STEPS = 1200


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    """What came of the seeds."""
    with multiprocessing.Pool(2) as pool:
        return pool.map(attempt, [(seed, STEPS) for seed in range(FIRST, FIRST + SEEDS)], chunksize=5)


def test_nothing_breaks_an_invariant(runs: list[Run]) -> None:
    failures = [one.failure for one in runs if one.failure]
    assert not failures, "\n\n".join(failures[:3])


@pytest.mark.parametrize("seed", range(4))
def test_garbage_of_one_strategy_changes_nothing_for_the_others(seed: int) -> None:
    assert isolation.check(seed) > 50


def test_a_seed_repeats_itself() -> None:
    runs = [World(FIRST, Wanted(steps=STEPS)) for _ in range(2)]
    for world in runs:
        world.run()

    assert runs[0].lines() == runs[1].lines()
    assert runs[0].log.records == runs[1].log.records


def test_the_runs_reach_what_they_are_for(runs: list[Run]) -> None:
    """Every kind of event stands in some journal, every limit that judges single orders has refused one, every one that
    is breached was, gateways died, were overtaken and came back, and
    found executions that were lost."""
    nothing = frozenset[str]()
    journaled = {field.name for field in journal_pb2.JournalEvent.DESCRIPTOR.oneofs_by_name["event"].fields}
    assert nothing.union(*(one.kinds for one in runs)) == journaled
    # What is found as a breach stops orders before a limit has to refuse one.
    refuse = {limit.reason for limit in KNOWN.values() if limit.breach is None}
    assert refuse <= nothing.union(*(one.refused for one in runs))
    breach = {name for name, limit in KNOWN.items() if limit.breach is not None or limit.breaches}
    assert nothing.union(*(one.breached for one in runs)) == breach
    assert sum(one.sessions for one in runs) > 2 * SEEDS
    assert sum(one.recalled for one in runs) > 10


def test_a_broken_gateway_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: a shell that sends without its append breaks I2, and the trace says how to repeat it."""

    def append(self: GatewayProcess, events: object, outcome: object) -> None:
        self.world.read_journal()

    monkeypatch.setattr(GatewayProcess, "_append", append)
    seed = FIRST + 1
    with pytest.raises(Exception, match=f"I2: .*\n.*make simulate SEED={seed}"):
        run(seed, STEPS)


EXECUTED_IN_FULL = journal_pb2.JournalEvent(
    order_executed=journal_pb2.OrderExecuted(
        cl_ord_id="a-r-1",
        exec_id="x",
        symbol="EUR-USD",
        side=market_data_pb2.SIDE_BUY,
        quantity="3",
        price="1",
    )
)
ENDED = journal_pb2.JournalEvent(
    order_ended=journal_pb2.OrderEnded(cl_ord_id="a-r-1", ord_status=orders_pb2.ORD_STATUS_CANCELED)
)
REPLACE_REJECTED = journal_pb2.JournalEvent(
    request_rejected=journal_pb2.RequestRejected(cl_ord_id="a-r-2", orig_cl_ord_id="a-r-1")
)


@pytest.mark.parametrize("over", [EXECUTED_IN_FULL, ENDED, REPLACE_REJECTED], ids=["filled", "ended", "rejected"])
def test_a_replacement_names_its_order_until_it_is_over_within_the_very_batch(over: journal_pb2.JournalEvent) -> None:
    """What is over and who asks for it in one batch: the order of the two decides what a refused cancel counts for."""
    accounts = _accounts_with_a_replacement()
    before, after = (
        NotSent(place, 5, "a", cl_ord_id=f"a-r-{number}", orig_cl_ord_id="a-r-2") for place, number in ((0, 3), (1, 4))
    )
    accounts.handled([before, after], events=1)
    assert accounts.refused == []

    accounts.take(journal_pb2.JournalRecord(first_sequence=3, events=[over]).SerializeToString())

    assert accounts.refused == [Refused("a", "EUR-USD", 5), Refused("a", "", 5)]


def test_what_a_lost_record_refused_is_forgotten_with_it() -> None:
    accounts = _accounts_with_a_replacement()
    accounts.handled([NotSent(place, 5, "a", "EUR-USD", f"a-r-{place + 3}") for place in (0, 1)], events=1)
    started = journal_pb2.JournalEvent(session_started=journal_pb2.SessionStarted(fencing_token=1))

    accounts.take(journal_pb2.JournalRecord(first_sequence=3, events=[started]).SerializeToString())

    assert accounts.refused == []


def _accounts_with_a_replacement() -> Accounts:
    """An order for 2 units that is to become one for 3. Nothing is judged: no limit binds."""
    names = frozenset({"a"})
    tradable = {"a": frozenset({"EUR-USD"})}
    spec = ConfigSpec("", {"a": TradingState.ACTIVE}, (RuleSpec("limit", names),), tradable=tradable)
    accounts = Accounts({"": spec})
    accounts.market.quotes["EUR-USD"] = Seen(0, 0, "EUR-USD", Decimal(1), Decimal(1))
    order = journal_pb2.OrderSubmitted(
        cl_ord_id="a-r-1", strategy="a", symbol="EUR-USD", side=market_data_pb2.SIDE_BUY, order_quantity="2", price="1"
    )
    change = journal_pb2.ReplaceSubmitted(cl_ord_id="a-r-2", orig_cl_ord_id="a-r-1", order_quantity="3", price="1")
    events = [journal_pb2.JournalEvent(order_submitted=order), journal_pb2.JournalEvent(replace_submitted=change)]
    accounts.take(journal_pb2.JournalRecord(first_sequence=1, events=events).SerializeToString())
    return accounts


def test_whoever_nothing_bound_counts_until_he_holds_nothing_also_when_something_binds_him_again() -> None:
    """As the gateway's supervision says of a rule that counts strategies together: b was a stranger at the first
    configuration, and the rule of the second one does not select him."""
    rule = RuleSpec("limit", frozenset({"a"}), total=True)
    bound = (dict.fromkeys(names, TradingState.ACTIVE) for names in ("a", "ab", "ab"))
    accounts = Accounts({f"r{number}": ConfigSpec(f"r{number}", names, (rule,)) for number, names in enumerate(bound)})
    counted = []
    for number, held in enumerate((5, 5, 0)):
        accounts.positions["b", "EUR-USD"] = Decimal(held)
        applied = journal_pb2.ConfigurationApplied(revision=f"r{number}")
        event = journal_pb2.JournalEvent(configuration_applied=applied)
        accounts.take(journal_pb2.JournalRecord(first_sequence=number + 1, events=[event]).SerializeToString())
        counted.append("".join(sorted(accounts.members["limit"])))
    assert counted == ["ab", "ab", "a"]


SAID = {("u", 1): KillSpec("Cancel"), ("u", 2): None, ("u", 3): KillSpec("Block")}
CANCEL, BLOCK = kill_pb2.KILL_MODE_CANCEL, kill_pb2.KILL_MODE_BLOCK


@pytest.mark.parametrize(
    ("generation", "mode", "channel", "rearmed", "allowed"),
    [
        (1, CANCEL, "Api", True, True),
        (1, CANCEL, "Bus", True, False),
        (3, BLOCK, "Api", True, False),
        (3, BLOCK, "Api", False, True),
        (3, BLOCK, "Bus", False, False),
        (3, CANCEL, "Bus", False, True),
        (1, BLOCK, "Api", False, False),
    ],
)
def test_kill_orders_end_and_get_softer_as_the_api_server_said(
    generation: int, mode: kill_pb2.KillMode.ValueType, channel: str, rearmed: bool, allowed: bool
) -> None:
    accounts = Accounts({}, SAID)
    accounts.kills["stop"] = KillInForce("u", 1, KillSpec("Cancel"))
    order = kill_pb2.KillOrder(name="stop", uid="u", generation=generation, mode=mode)
    change = journal_pb2.KillChanged(order=order, channel=channel, rearmed=rearmed)
    event = journal_pb2.JournalEvent(kill_changed=change)
    payload = journal_pb2.JournalRecord(first_sequence=1, events=[event]).SerializeToString()
    if allowed:
        accounts.take(payload)
        assert ("stop" in accounts.kills) is not rearmed
    else:
        with pytest.raises(Broken, match="I13"):
            accounts.take(payload)


def test_every_fault_that_mutants_puts_back_has_its_place() -> None:
    for mutant in mutants.MUTANTS:
        assert mutants.source(mutant)
