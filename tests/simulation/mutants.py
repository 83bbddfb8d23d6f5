"""Faults that were seen, and checks that are left out, one at a time in a scratch copy of the agents: how many seeds
find each?

`python -m tests.simulation.mutants [--count N] [--steps N] [NAME ...]` prints a table. A fault is a text that stands
once in a file and what takes its place; a test keeps them so.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "gateway" / "src" / "crowetrade_agents"
FIRST = 60_000


class Mutant(NamedTuple):
    """`finding` is where it was seen first; `path` is below crowetrade_agents."""

    name: str
    finding: str
    path: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "an order is journaled over another one of its ClOrdID",
        "G1",
        "gateway/requests.py",
        "    known = books.find(terms.cl_ord_id)\n",
        "    known = None if books.open.pop(terms.cl_ord_id, None) else None\n"
        "    books._by_id.pop(terms.cl_ord_id, None)\n    books.used.clear()\n",
    ),
    Mutant(
        "a repeated execution is booked again",
        "G20",
        "gateway/venue_events.py",
        "    if order is not None and event.exec_id in order.executions:\n",
        "    if order is not None and order.executions.pop(event.exec_id, None) and False:\n",
    ),
    Mutant(
        "a fill after the end is dropped",
        "G20",
        "gateway/venue_events.py",
        "    _took_place(turn, order, event.cl_ord_id, event.at_ns)\n    owner =",
        "    if order is not None and not order.is_open:\n        return\n    owner =",
    ),
    Mutant(
        "an execution of no known order is dropped",
        "G20",
        "gateway/venue_events.py",
        "    forgets = owner is None or owner.forgets_executions\n",
        "    if owner is None:\n        return\n    forgets = owner.forgets_executions\n",
    ),
    Mutant(
        "executions of the snapshot are thrown away",
        "G20",
        "gateway/recovery.py",
        "    for execution in snapshot.executions:\n",
        "    for execution in ():\n",
    ),
    Mutant(
        "the venue is not asked for executions within a session",
        "lost executions",
        "gateway/recovery.py",
        "        turn.add(SendRecall(turn.books.resume_ns))\n",
        "        pass\n",
    ),
    Mutant(
        "refused requests do not count",
        "T, G5",
        "gateway/requests.py",
        "    turn.books.messages.add(strategy, InstrumentId(turn.settings.venue, symbol), turn.now_ns)\n",
        "",
    ),
    Mutant(
        "cancels do not count",
        "T",
        "gateway/books.py",
        "counts=body.reason == wire.CANCEL_REQUESTED)",
        "counts=False)",
    ),
    Mutant(
        "rates are forgotten at a start",
        "G5",
        "gateway/books.py",
        "    for event in events:\n        found.apply(event, replayed=True)\n",
        "    for event in events:\n        found.apply(event, replayed=True)\n    found.messages = MessageWindows()\n",
    ),
    Mutant(
        "a deleted strategy no longer counts",
        "K2",
        "gateway/supervision.py",
        "    return set(rule.strategies) | (before & owners) | strangers | {SUSPENSE}",
        "    return set(rule.strategies)",
    ),
    Mutant(
        "orders leave without the journal",
        "journal before send",
        "gateway/requests.py",
        "    turn.record(journal_pb2.JournalEvent(order_submitted=wire.submitted(terms, origin_sequence, mark)))\n",
        "    turn.record(journal_pb2.JournalEvent(order_submitted=wire.submitted(terms, origin_sequence, mark)))\n"
        "    turn.effects.pop()\n",
    ),
    Mutant(
        "a gateway whose journal is gone cancels one order alone",
        "G4",
        "gateway/batch.py",
        "        found.append(SendCancel(cancel, urgent=True))\n",
        "        found.append(SendCancel(cancel, urgent=True))\n        break\n",
    ),
    Mutant(
        "a replacement counts with its new quantity alone",
        "RTS 6 15(2)",
        "gateway/order.py",
        "        quantity = max(self.terms.quantity, self.replace.quantity) if self.replace else self.terms.quantity\n",
        "        quantity = self.replace.quantity if self.replace else self.terms.quantity\n",
    ),
    Mutant(
        "an order that ended still counts",
        "G20",
        "gateway/books.py",
        "        self.count_open(order, CONTEXT.minus(counted), -1)\n",
        "",
    ),
    Mutant(
        "the sum of all positions does not follow",
        "sums per instrument",
        "gateway/books.py",
        "        total.position = CONTEXT.add(total.position, CONTEXT.subtract(quantity, exposure.position))\n",
        "",
    ),
    Mutant(
        "the position limit ignores working orders to sell",
        "T",
        "risk/worst_case.py",
        "    return CONTEXT.subtract(exposure.position, exposure.open_sell)\n",
        "    return exposure.position\n",
    ),
    Mutant(
        "a reducing order may flip the position",
        "T",
        "risk/reducing.py",
        "    return closable > 0 and CONTEXT.add(others, proposal.leaves) <= closable\n",
        "    return closable > 0\n",
    ),
    Mutant(
        "an unknown limit means no limit",
        "K1",
        "risk/preconditions/limits_in_force.py",
        "    if problem is not None:\n",
        "    if False:\n",
    ),
    Mutant(
        "resting orders outlive their halt",
        "G8",
        "gateway/supervision.py",
        "        for order, reason in list(_unwanted(turn)):\n",
        "        for order, reason in []:\n",
    ),
    Mutant(
        "an unknown order is not asked for again",
        "G20",
        "gateway/venue_events.py",
        "    ask(turn, order, Reason.NO_ANSWER)\n",
        "",
    ),
    Mutant(
        "Flatten tries again at once, whatever came of it",
        "G7",
        "gateway/closing.py",
        "    if order.terms.closing and not order.cum:\n",
        "    if False:\n",
    ),
    Mutant(
        "what is taken back is ignored",
        "G20",
        "gateway/venue_events.py",
        "    if known is not None and known.busted:\n",
        "    if True:\n",
    ),
    Mutant(
        "an overtaken gateway goes on",
        "G15",
        "journal/memory.py",
        "        if len(self.records) != follows:\n            raise Overtaken",
        "        if False:\n            raise Overtaken",
    ),
    Mutant(
        "kill orders stop nobody after a start",
        "kills",
        "gateway/state.py",
        "                stop_of(item.order) for name, item in books.kills.items() if self.is_killed(name, strategy)\n",
        "                stop_of(item.order)\n"
        "                for name, item in books.kills.items()\n"
        "                if self.live.kills[name].channel != 'Journal' and self.is_killed(name, strategy)\n",
    ),
    Mutant(
        "breaches stop nobody after a start",
        "breaches",
        "gateway/state.py",
        "            known[strategy] = held(self.books.breaches.values(), self.live.configuration, strategy)\n",
        "            since = self.live.start_sequence\n"
        "            fresh = [b for b in self.books.breaches.values() if int(b.breach.rsplit('-', 1)[1]) > since]\n"
        "            known[strategy] = held(fresh, self.live.configuration, strategy)\n",
    ),
    Mutant(
        "who may change another RiskLimit clears a breach",
        "breaches",
        "gateway/breaches.py",
        "        elif risk_limit == latched[name].risk_limit:\n",
        "        elif True:\n",
    ),
    Mutant(
        "the bus makes a kill order softer",
        "kills",
        "control/kills.py",
        "DECISIVE = frozenset({Channel.API, Channel.MANIFEST})\n",
        "DECISIVE = frozenset({Channel.API, Channel.MANIFEST, Channel.BUS})\n",
    ),
    Mutant(
        "an older re-arming ends a newer kill order",
        "kills",
        "control/kills.py",
        "and (not rearm.uid or rearm.generation > current.generation)\n",
        "\n",
    ),
    Mutant(
        "a deleted venue closes although a kill order wants nothing sent",
        "kills",
        "control/state.py",
        "        closes = closes and (hardest is None or hardest.state not in _SENDS_NOTHING)\n",
        "",
    ),
    Mutant(
        "no order is judged by the limit: order quantity",
        "limits",
        "risk/limits/max_order_quantity.py",
        "        if quantity <= value:\n",
        "        if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: order notional",
        "limits",
        "risk/limits/max_order_notional.py",
        "            if (worth if rate is ONE else worth * rate) <= value:\n",
        "            if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: price collar",
        "limits",
        "risk/limits/price_collar_bps.py",
        "        return _refused(value, case.buying, price, touch, rule) if worse else None\n",
        "        return None\n",
    ),
    Mutant(
        "no order is judged by the limit: order rate",
        "limits",
        "risk/limits/max_order_rate.py",
        "        if case.facts.messages.has_room(owners, symbols, case.now_ns, window_ns, room):\n",
        "        if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: open orders",
        "limits",
        "risk/limits/max_open_orders.py",
        "        if orders <= may:\n",
        "        if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: position",
        "limits",
        "risk/limits/max_position_quantity.py",
        "        if after.copy_abs() <= value or case.approaches_zero(owners):\n",
        "        if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: gross notional",
        "limits",
        "risk/limits/max_gross_notional.py",
        "        return None if case.approaches_zero(counted.owners) else _refused(value, may, gross, rule)\n",
        "        return None\n",
    ),
    Mutant(
        "no order is judged by the limit: net notional",
        "limits",
        "risk/limits/max_net_notional.py",
        "        if after.copy_abs() <= may or _approaches_zero(after, case, counted):\n",
        "        if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: concentration",
        "limits",
        "risk/limits/max_concentration.py",
        "            if worth <= most:\n",
        "            if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: duplicate orders",
        "limits",
        "risk/limits/duplicate_window_millis.py",
        "        if recent.sent_since(case.fingerprint, owners, since_ns):\n",
        "        if False:\n",
    ),
    Mutant(
        "no order is judged by the limit: order-to-trade ratio",
        "limits",
        "risk/limits/max_order_to_trade_ratio.py",
        "        if found is not None and not found.is_above(value):\n",
        "        if found is not None:\n",
    ),
    Mutant(
        "no order is judged by the limit: age of quotes",
        "limits",
        "risk/limits/max_data_age_seconds.py",
        "        if mark is not None and 0 <= case.now_ns - mark.received_ns <= value:\n",
        "        if mark is not None:\n",
    ),
    Mutant(
        "no order is judged by the limit: self-match",
        "limits",
        "risk/limits/self_match_prevention.py",
        "        if not value or not case.facts.working.would_match(case.terms):\n",
        "        if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: restricted instruments",
        "limits",
        "risk/limits/restricted_instruments.py",
        "        if symbol not in value or reduces(case.proposal, case.facts):\n",
        "        if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: trading hours",
        "limits",
        "risk/limits/trading_hours.py",
        "        if value.is_open(case.now_ns) or reduces(case.proposal, case.facts):\n",
        "        if True:\n",
    ),
    Mutant(
        "no order is judged by the limit: daily loss",
        "limits",
        "risk/limits/max_daily_loss.py",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n"
        "object.__setattr__(LIMIT, 'compile', lambda value, counted: lambda case: None)\n",
    ),
    Mutant(
        "no breach is found of the limit: daily loss",
        "limits",
        "risk/limits/max_daily_loss.py",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\nobject.__setattr__(LIMIT, 'breach', None)\n",
    ),
    Mutant(
        "no order is judged by the limit: drawdown",
        "limits",
        "risk/limits/max_drawdown.py",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n"
        "object.__setattr__(LIMIT, 'compile', lambda value, counted: lambda case: None)\n",
    ),
    Mutant(
        "no breach is found of the limit: drawdown",
        "limits",
        "risk/limits/max_drawdown.py",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\nobject.__setattr__(LIMIT, 'breach', None)\n",
    ),
    Mutant(
        "no order is judged by the limit: loss per minute",
        "limits",
        "risk/limits/max_loss_per_minute.py",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n"
        "object.__setattr__(LIMIT, 'compile', lambda value, counted: lambda case: None)\n",
    ),
    Mutant(
        "a start forgets what was lost in the last minute",
        "limits",
        "gateway/breaches.py",
        "            watch.unseen_until_ns = live.started_ns + MINUTE_NS\n",
        "            watch.unseen_until_ns = 0\n",
    ),
    Mutant(
        "an order takes an execution that it has forgotten for a new one",
        "executions",
        "gateway/order.py",
        "        return len(self.executions) >= EXECUTIONS_KEPT\n",
        "        return False\n",
    ),
    Mutant(
        "no breach is found of the limit: loss per minute",
        "limits",
        "risk/limits/max_loss_per_minute.py",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\n",
        "LIMIT: Limit[Decimal] = loss_limit(KIND)\nobject.__setattr__(LIMIT, 'breach', None)\n",
    ),
    Mutant(
        "no breach is found of the limit: order-to-trade ratio",
        "limits",
        "risk/limits/max_order_to_trade_ratio.py",
        "    return _said(value, today(facts, rule, subject), rule)\n",
        "    return None\n",
    ),
    Mutant(
        "a silent feed is as good as one that speaks",
        "market data",
        "risk/preconditions/market_data.py",
        "    if silent_ns <= MAX_FEED_SILENCE_NS:\n",
        "    if True:\n",
    ),
    Mutant(
        "what a strategy has left grows",
        "moves",
        "risk/preconditions/tradable.py",
        "    if terms.instrument.symbol in facts.tradable.get(terms.strategy, ()) or reduces(proposal, facts):\n",
        "    if True:\n",
    ),
    Mutant(
        "orders are sent by crossed quotes",
        "market data",
        "risk/preconditions/market_data.py",
        "    if usable_book(instrument, facts) is not None:\n",
        "    if True:\n",
    ),
    Mutant(
        "the day of a rule that counts no losses begins with 0",
        "days",
        "gateway/breaches.py",
        "    counts = bool(day) and _watches_losses(watch)\n",
        "    counts = bool(day)\n",
    ),
    Mutant(
        "a day of the rule's own does not count",
        "days",
        "risk/standing.py",
        "    if rule.days is not None:\n",
        "    if False:\n",
    ),
    Mutant(
        "a day begins when the one before is over for a minute",
        "days",
        "gateway/breaches.py",
        "    if second == judging.second:\n",
        "    if second // 60 == judging.second // 60:\n",
    ),
    Mutant(
        "a cleared breach of rejects begins a day",
        "days",
        "gateway/breaches.py",
        "    if limit not in breaches.OF_THE_DAY:\n        return\n    known",
        "    known",
    ),
    Mutant(
        "strategies that work orders and nothing else are not shown",
        "status",
        "gateway/status.py",
        "    listed |= {order.terms.strategy for order in books.open.values()}\n",
        "",
    ),
    Mutant(
        "a status says nothing of halts",
        "status",
        "gateway/status.py",
        '            blocked_reason="" if blocked is None else _blocked_reason(state),\n',
        '            blocked_reason="",\n',
    ),
    Mutant(
        "a strategy is said to be stopped while orders work",
        "status",
        "gateway/status.py",
        "    if control.state in (TradingState.ACTIVE, TradingState.CLOSE_ONLY) or state.books.open_of(strategy):\n",
        "    if control.state in (TradingState.ACTIVE, TradingState.CLOSE_ONLY):\n",
    ),
    Mutant(
        "the last refusal stays the first one",
        "status",
        "gateway/books.py",
        "        if (last.reason, last.risk_limit) != (reason, risk_limit):\n",
        "        if not last.reason:\n",
    ),
    Mutant(
        "the use of the limit on open orders leaves one out",
        "status",
        "risk/limits/max_open_orders.py",
        "        if orders := sums.valuation.group(owners, rule.symbols).orders:\n",
        "        if orders := sums.valuation.group(owners, rule.symbols).orders - 1:\n",
    ),
)


def source(mutant: Mutant) -> str:
    """The file as it is; raises ValueError when the fault has no place in it any more, or more than one."""
    text = (GATEWAY / mutant.path).read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: {mutant.path} has {text.count(mutant.old)} places for it")
    return text


def found_by(mutant: Mutant, count: int, steps: int) -> tuple[int, str]:
    """How many of `count` seeds fail with the fault, and which invariants say so."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "crowetrade_agents"
        shutil.copytree(GATEWAY, copy, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / mutant.path).write_text(source(mutant).replace(mutant.old, mutant.new))
        command = [
            sys.executable,
            "-m",
            "tests.simulation",
            "--keep-going",
            "--first",
            str(FIRST),
            "--count",
            str(count),
            "--steps",
            str(steps),
        ]
        environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    failures = re.findall(r"^\d+: step \d+: (\w+)", done.stdout, re.MULTILINE)
    return len(failures), ", ".join(sorted(set(failures)))


def main(arguments: list[str]) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("names", nargs="*")
    wanted = parser.parse_args(arguments)
    print(f"| fault | finding | seeds of {wanted.count} | by |\n|---|---|---|---|")
    for mutant in MUTANTS:
        if not wanted.names or any(name in mutant.name for name in wanted.names):
            seeds, invariants = found_by(mutant, wanted.count, wanted.steps)
            print(f"| {mutant.name} | {mutant.finding} | {seeds} | {invariants} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
