"""What stops trading, and what may stay open: configuration, halts, lost sessions, leaving.

Whenever one of them changes, every open order is judged again; what may not stay is cancelled, before the change is
acknowledged and without waiting for the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.allowances.holder import Key
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.numbers import CONTEXT, render
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import breaches, closing, forgetting, kill_progress, requests, shares
from crowetrade_agents.gateway.books import SUSPENSE
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.commands import SharesChanged
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.gateway.state import Turn
from crowetrade_agents.journal.chain import MAX_RECORD_BYTES
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.facts import Facts, Proposal
from crowetrade_agents.risk.limits import max_order_rate
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.rules import Rule
from crowetrade_api.names import reason_of_halt
from crowetrade_api.reasons import Reason as ConditionReason

RETRY_NS = SECOND_NS
MAX_CONFIGURATION_BYTES = MAX_RECORD_BYTES - 4096
"""Largest ConfigurationApplied: what is larger fits into no record of the journal."""


def configure(turn: Turn, configuration: Configuration) -> None:
    """Puts a configuration in force."""
    breaches.before_configuration(turn)
    turn.live.configuration, turn.live.configured = configuration, True
    turn.state.valuation.forget()
    turn.books.tallies.forget_sums()
    turn.live.kill_stops.clear()
    _check_record(turn, configuration)
    for halt in sorted(configuration.cleared_halts & turn.books.halts.keys()):
        body = journal_pb2.HaltChanged(halt=halt, text="cleared by a person at the VenueConnection", cleared=True)
        turn.record(journal_pb2.JournalEvent(halt_changed=body))
        turn.tell("warning", "halt_cleared", halt=halt)
    members = turn.books.members
    _record_configuration(turn, configuration)
    breaches.configured(turn, members)
    forgetting.forget(turn)
    turn.tell(
        "info",
        "configuration_in_force",
        revision=configuration.revision,
        unreadable=configuration.unreadable,
        halted=configuration.halted_reason,
    )
    supervise(turn)


def halt(turn: Turn, reason: str, text: str) -> None:
    """Stops trading until a person clears it. What is found later for the same reason takes the place of what was found
    before, under a name of its own: nobody clears what they were not shown. The same sentence again changes nothing."""
    before = [name for name in turn.books.halts if reason_of_halt(name) == reason]
    if any(turn.books.halts[name].startswith(f"{text};") for name in before):
        return
    name = f"{reason}@{turn.live.sequence + 1}"
    remedy = f"then annotate the VenueConnection with trading.crowetrade.io/clear-halt={name}"
    if before:
        remedy = f"it is not the first since trading stopped, the log has them all; {remedy}"
    turn.record(journal_pb2.JournalEvent(halt_changed=journal_pb2.HaltChanged(halt=name, text=f"{text}; {remedy}")))
    for halt in before:
        body = journal_pb2.HaltChanged(halt=halt, text=f"{name} takes its place", cleared=True)
        turn.record(journal_pb2.JournalEvent(halt_changed=body))
    turn.tell("error", "halted", halt=name, text=text)
    turn.count("HALTS", reason)
    supervise(turn)


def change_shares(turn: Turn, command: SharesChanged) -> None:
    """Uses other shares. What is given back leaves what is in use: no order is cancelled for it, and nothing is
    breached by it; messages alone end by themselves. Of what the ledger takes away nothing more is used."""
    live = turn.live
    given = {key for key, most in command.held.items() if command.kept.get(key, most) < most}
    in_use = dict(shares.used(turn.state, turn.now_ns)) if given else {}
    live.shares = {
        key: shares.share(min(most, max(command.kept[key], _least(key, most, in_use))) if key in given else most)
        for key, most in command.held.items()
    }
    breaches.shares_changed(turn)


def _least(key: Key, most: int, in_use: Mapping[Key, int | None]) -> int:
    if key[1] == max_order_rate.NAME:
        return 0
    amount = in_use.get(key, 0)
    return most if amount is None else amount


def leave(turn: Turn) -> None:
    """Nothing new leaves any more."""
    turn.live.leaving = True
    breaches.leaving(turn)
    supervise(turn)


def supervise(turn: Turn) -> None:
    """Cancels every open order that may not stay, and goes on closing where that is asked for."""
    kill_progress.keep_stopped(turn)
    if turn.state.can_reduce:
        for order, reason in list(_unwanted(turn)):
            cancel(turn, order, reason)
    kill_progress.supervised(turn)
    closing.pursue_all(turn)


def cancel(turn: Turn, order: Order, reason: Reason) -> None:
    """The gateway's own cancel: it has no limit, does not wait for the journal, and is sent again when it stays
    unanswered."""
    if order.cancel is not None and turn.now_ns - order.cancel.since_ns < turn.settings.answer_after_ns:
        return
    if turn.state.can_reduce:
        requests.cancel(turn, order, turn.state.own_id(order.terms.strategy), reason, urgent=True)


def session_lost(turn: Turn, strategy: str, session: int) -> None:
    """A session is over; its orders are cancelled when none follows in time."""
    if turn.live.sessions.get(strategy) != session:
        return
    del turn.live.sessions[strategy]
    without_session(turn, strategy)


def without_session(turn: Turn, strategy: str) -> None:
    """From now on the strategy has no session."""
    turn.live.lost[strategy] = turn.now_ns
    turn.wake(turn.now_ns + turn.settings.cancel_after_ns, "lost", strategy)


def still_lost(turn: Turn, strategy: str) -> None:
    """Time has come to look whether the strategy has a session again."""
    if not _is_lost(turn, strategy):
        return
    cancelled = 0
    for order in turn.books.open_of(strategy):
        if not order.terms.closing:
            cancel(turn, order, Reason.SESSION_LOST)
            cancelled += 1
    if cancelled:
        turn.tell("warning", "orders_cancelled_on_disconnect", strategy=strategy, orders=cancelled)


def _is_lost(turn: Turn, strategy: str) -> bool:
    since = turn.live.lost.get(strategy)
    return since is not None and turn.now_ns - since >= turn.settings.cancel_after_ns


def _unwanted(turn: Turn) -> Iterable[tuple[Order, Reason]]:
    """Newest first, so that the oldest orders stay where a tighter limit leaves room for some of them."""
    state = turn.state
    facts: dict[str, Facts] = {}
    taken_out: list[Order] = []
    found: list[tuple[Order, Reason]] = []
    for order in reversed(turn.books.open.values()):
        strategy = order.terms.strategy
        if strategy not in facts:
            facts[strategy] = state.facts(strategy, turn.now_ns)
        reason = _why_not(turn, order, facts[strategy])
        if reason is not None:
            found.append((order, reason))
            _count_out(turn, order, -1)
            taken_out.append(order)
    for order in taken_out:
        _count_out(turn, order, 1)
    return found


def _why_not(turn: Turn, order: Order, facts: Facts) -> Reason | None:
    state = facts.trading_state
    if order.terms.closing:
        return None if state is TradingState.FLATTEN else Reason.TRADING_STOPPED
    if turn.live.leaving:
        return Reason.GATEWAY_STOPPING
    if state in (TradingState.HALTED, TradingState.FLATTEN):
        return Reason.TRADING_STOPPED
    if _is_lost(turn, order.terms.strategy):
        return Reason.SESSION_LOST
    leaves = order.counted_leaves
    if not leaves:
        return None
    if state is TradingState.BLOCKED:
        # Nothing new leaves; what is open is judged by the limits alone.
        facts = replace(facts, trading_state=TradingState.ACTIVE, control_refusal=None)
    refusal = gate.judge_resting(Proposal(order.largest_terms, leaves, leaves), facts)
    return None if refusal is None else Reason.LIMIT_CHANGED


def _count_out(turn: Turn, order: Order, sign: int) -> None:
    """Takes an order that is about to be cancelled out of the exposures while others are judged, and puts it back."""
    turn.books.count_open(order, CONTEXT.multiply(order.counted_leaves, sign), sign)


def _check_record(turn: Turn, configuration: Configuration) -> None:
    """A journal that ends before what the operator has on record lost something: nobody knows what the account
    holds.

    The first configurations may come from the same backup as the journal, with a record as old, or the operator may
    still have its predecessor on record: so each is looked at until the record is this gateway's own, or has halted it.
    """
    live, record = turn.live, configuration.on_record
    if live.record_checked or configuration.bindings is None:
        return
    token = turn.books.fencing_token
    own = record.pod == turn.settings.pod and record.fencing_token == token and record.sequence <= live.sequence
    if not own and record.fencing_token < token and record.sequence <= live.start_sequence:
        return
    live.record_checked = True
    if own:
        return
    text = (
        f"the journal ends at event {live.start_sequence} of session {token - 1}, but the operator "
        f"has event {record.sequence} of session {record.fencing_token} on record: what happened since is not known. "
        "Restore the journal, or compare the account with the venue"
    )
    halt(turn, ConditionReason.JOURNAL_BELOW_RECORD, text)


def _record_configuration(turn: Turn, configuration: Configuration) -> None:
    """Journals what is in force, with whom each rule counts; the same again is not journaled. A configuration that is
    missing or unreadable says nothing about whom a rule counted, so that is kept for the next one."""
    body = journal_pb2.ConfigurationApplied(
        revision=configuration.revision,
        members=[
            journal_pb2.RuleMembers(risk_limit=rule.name, strategies=sorted(_members(turn, configuration, rule)))
            for rule in configuration.rules
            if rule.total
        ]
        if configuration.bindings is not None and not configuration.unreadable
        else turn.books.configuration.members,
    )
    if configuration.source is not None:
        body.config.CopyFrom(configuration.source)
        body.instruments.extend(_listed(item) for item in turn.settings.instruments.values())
    if body.ByteSize() > MAX_CONFIGURATION_BYTES:
        # What follows without it still counts right; only whoever judges again cannot.
        turn.tell("warning", "configuration_not_journaled", bytes=body.ByteSize(), most=MAX_CONFIGURATION_BYTES)
        body.ClearField("config")
    if body != turn.books.configuration:
        turn.record(journal_pb2.JournalEvent(configuration_applied=body))


def _listed(item: Instrument) -> journal_pb2.ListedInstrument:
    return journal_pb2.ListedInstrument(
        symbol=item.id.symbol,
        currency=item.currency,
        multiplier=render(item.multiplier),
        base_currency=item.base_currency,
    )


def count_stranger(turn: Turn, strategy: str) -> None:
    """A strategy that no binding names has traded (an execution that came late): it counts for every rule that counts
    strategies together, as if it had held something when the configuration came."""
    bindings = turn.live.configuration.bindings
    if bindings is not None and strategy not in bindings:
        members = turn.books.members
        _record_configuration(turn, turn.live.configuration)
        breaches.configured(turn, members, by_person=False)


def _members(turn: Turn, configuration: Configuration, rule: Rule) -> set[str]:
    """Whom a rule counts together: the strategies that it binds; those that it counted before and that still hold or
    work something, so that deleting, relabelling or moving one never frees a limit; and whoever no binding names."""
    owners = turn.books.owners()
    before = set(turn.books.members.get(rule.name, frozenset()))
    strangers = owners - set(configuration.bindings or {})
    return set(rule.strategies) | (before & owners) | strangers | {SUSPENSE}
