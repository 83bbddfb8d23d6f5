"""Forgets strategies that are gone for good, and marks of RiskLimits that are, so that what a gateway keeps grows with
who trades and not with who ever did.

Names come with configurations, so they are looked at with each one. A strategy is gone when it is not bound and counted
by no rule, holds and works nothing, and nothing of it is in a window of messages or executions any more: for a day, the
longest that a window may be, and the longest that the deadline of an order may lie ahead, so that one that was sent
before comes too late when it is sent again. What limits on losses and on the day's messages compare with stays for
MARKS_KEPT_DAYS after it was in force last, and so does the strategy that it is of: one that is created again meanwhile
goes on with its day and its peak. Whoever a breach or a kill order names is kept until a person has ended it.
"""

from __future__ import annotations

from datetime import date, timedelta

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.gateway.books import FORMER, SUSPENSE, Books
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.state import Turn
from crowetrade_agents.risk.standing import identity

MARKS_KEPT_DAYS = 31
DAY_NS = 86_400 * SECOND_NS


def forget(turn: Turn) -> None:
    """A configuration is in force: what nothing counts any more is journaled as forgotten."""
    configuration = turn.live.configuration
    if configuration.bindings is None or configuration.unreadable:
        return
    watched = turn.live.standing.watches.keys()
    old = [key for key, mark in turn.books.loss_marks.items() if key not in watched and _is_old(mark, turn.now_ns)]
    gone = _names(turn.books) - _counted(turn) - {key[1] for key in turn.books.loss_marks.keys() - old}
    marks = [journal_pb2.ForgottenMark(rule=rule, subject=subject) for rule, subject in old if subject not in gone]
    if gone or marks:
        body = journal_pb2.Forgotten(strategies=sorted(gone), marks=marks)
        turn.record(journal_pb2.JournalEvent(forgotten=body))
        turn.state.valuation.forget()
        for name in gone:
            turn.live.lost.pop(name, None)
            turn.live.judging.slowed_ns.pop(name, None)
    rules = {identity(rule) for rule in configuration.rules}
    for wanted in [key for key in turn.live.demands if key[0] not in rules]:
        del turn.live.demands[wanted]


def _names(books: Books) -> set[str]:
    """Whoever has done something."""
    names = {name for name, _ in books.exposures} | books.counters.keys() | books.tallies.keys() | books.used.keys()
    return names - {SUSPENSE, FORMER}


def _counted(turn: Turn) -> set[str]:
    """Whoever may do something, or is counted somewhere."""
    live, books = turn.live, turn.books
    names = {*(live.configuration.bindings or ()), *live.sessions, *live.refused, *books.owners()}
    names.update(*books.members.values(), *books.kept_stopped.values())
    names.update(*(rule.strategies for rule in live.configuration.rules))
    names.update(*(watch.owners for watch in live.standing.watches.values()))
    names.update(*(watch.pending.owners for watch in live.standing.watches.values() if watch.pending is not None))
    for breach in books.breaches.values():
        names.update(breach.strategies, (breach.subject,))
    for windows in (books.messages, books.buys, books.sells):
        names |= windows.strategies(turn.now_ns)
    return names


def _is_old(mark: journal_pb2.LossMarked, now_ns: int) -> bool:
    """Whether the mark was in force last so long ago. While it is, its day is the present one."""
    if not mark.day:
        return False
    today = date(1970, 1, 1) + timedelta(days=now_ns // DAY_NS)
    return date.fromisoformat(mark.day) + timedelta(days=MARKS_KEPT_DAYS) < today
