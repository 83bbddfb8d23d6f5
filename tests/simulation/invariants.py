"""What must hold after every step, each by a function of its own. The gateway's books are held against the exchange's
ledger (venue.py) and naive accounts (accounts.py), never against themselves.

I1  The venue's open orders and what is executed of them equal the books, or the order is pending or unknown and is
    being asked for, or a request or an answer is on its way.
I2  No order is at the venue, or sent to it, that the journal did not take first, as it was taken.
I3  Each execution is booked once, to the owner of its order; positions are the sum of executions less busts. Each
    charge on a position is booked once, in parts that sum to it.
I4  No limit is exceeded by what is sent, by naive sums over the records, the quotes that the gateway was given, and
    the list of all messages (judge.py, losses.py).
I5  Nothing new is sent after a halt or a suspension is in force; CLOSE_ONLY reduces; closing is for FLATTEN alone.
I6  What one strategy sends changes nothing for another one but through shared limits (isolation.py).
I7  Recovered books equal the live ones, with a snapshot and without.
I8  Flatten ends: what is left is named with its reason, and the journal does not grow with the quotes.
I9  When nothing fails any more, no order stays pending or unknown.
I10 A gateway whose journal takes no more cancels everything that it has open.
I11, I12 What a gateway acknowledges of a kill order holds at the venue (kills.py).
I13 A kill order in force survives whatever happens to gateways; it ends or gets softer by the API server alone.
I14 A breach that was latched does what its action says, whatever happens to gateways, until somebody clears it; a loss
    above its limit is latched, and a trading day begins when its calendar says so (losses.py).
I15 What is published is what the accounts say (statuses.py).
I2 to I5, I13 and I14 are also raised by accounts.py, record by record.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrderTerms, OrdStatus, Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import books as gateway_books
from crowetrade_agents.gateway.effects import SendCancel
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.gateway.status import remaining
from crowetrade_agents.journal.memory import MemoryLog, MemoryWriter
from crowetrade_agents.risk.windows import HORIZON_NS, TIERS
from crowetrade_agents.venues import port
from crowetrade_agents.venues.adapters.simulated.ledger import VenueOrder
from tests.simulation.accounts import Account
from tests.simulation.broken import Broken, expect
from tests.simulation.limits import SECOND
from tests.simulation.venue import RECALL_NS, SNAPSHOT

if TYPE_CHECKING:
    from tests.simulation.gateway import GatewayProcess
    from tests.simulation.world import World

ZERO = Decimal(0)
ASKED_WITHIN_NS = 2 * RECALL_NS + 3 * SECOND
"""A session that is not up when the gateway would ask makes it ask later."""


def books_equal_venue(world: World, process: GatewayProcess) -> None:
    """I1."""
    venue = world.venue
    if venue.session is not process or not process.quiet or venue.on_the_way[SNAPSHOT]:
        return
    if process.state.live.session is not port.SessionState.LOGGED_ON:
        return
    excused = venue.lost_orders
    settled: set[str] = set()
    for order in process.state.books.open.values():
        root = venue.root(order.cl_ord_id)
        settled.add(root)
        if root in excused or venue.on_the_way[root] or _is_asked_for(order):
            continue
        _expect_same(order, venue.exchange.ledger.order(order.cl_ord_id))
    for opened in venue.exchange.ledger.open.values():
        for at_venue in opened.values():
            root = venue.root(at_venue.terms.cl_ord_id)
            if root not in settled and root not in excused and not venue.on_the_way[root]:
                raise Broken("I1", f"{at_venue.terms.cl_ord_id} is open at the venue and not in the books")


def nothing_stays_lost(world: World, process: GatewayProcess) -> None:
    """I3 within a session: the venue is asked for what was lost while, or before, an order was open."""
    venue = world.venue
    if venue.session is not process or process.state.live.session is not port.SessionState.LOGGED_ON:
        return
    asks = bool(process.state.books.open)
    for exec_id, lost in venue.lost_executions.items():
        if asks and lost.owed_ns is None:
            lost.owed_ns = world.now
        late = lost.owed_ns is not None and world.now > lost.owed_ns + ASKED_WITHIN_NS
        late = late and not lost.asked_for
        expect(not late, "I3", f"the report of execution {exec_id} was lost, and nobody asks for it")


def _is_asked_for(order: Order) -> bool:
    pending = order.cancel is not None or order.replace is not None
    return order.unknown or pending or order.base is OrdStatus.PENDING_NEW


def _expect_same(order: Order, at_venue: VenueOrder | None) -> None:
    if at_venue is None or at_venue.status.is_final:
        fate = "not known there" if at_venue is None else f"{at_venue.status.value} {at_venue.reason}"
        raise Broken("I1", f"{order.cl_ord_id} is {order.status.value} in the books and {fate} at the venue")
    terms = at_venue.terms
    booked = (order.cl_ord_id, order.terms.quantity, order.terms.price, order.cum, order.leaves)
    there = (terms.cl_ord_id, terms.quantity, terms.price, at_venue.cum, at_venue.leaves)
    if booked != there:
        raise Broken("I1", f"books {booked}, venue {there}")


def is_being_asked_for(process: GatewayProcess) -> None:
    """I1, the other half: what is pending or unknown has a time at which it is asked for."""
    if not process.quiet or process.state.live.session is not port.SessionState.LOGGED_ON:
        return
    timed = {key for _, kind, key in process.state.live.timers if kind == "answer"}
    on_the_way = process.world.venue.on_the_way
    if on_the_way[SNAPSHOT]:
        return
    for order in process.state.books.open.values():
        if _is_asked_for(order):
            ids = {order.cl_ord_id, *order.former}
            if not ids & timed:
                raise Broken("I1", f"{order.cl_ord_id} is {order.status.value} and nobody will ask what became of it")


def stands_in_journal(world: World, terms: OrderTerms, what: str) -> None:
    """I2."""
    account = world.accounts.orders.get(terms.cl_ord_id)
    if account is None:
        raise Broken("I2", f"{terms.cl_ord_id} is {what} and stands in no record")
    sign = 1 if terms.side is Side.BUY else -1
    booked = (account.owner, account.symbol, account.sign)
    expect(booked == (terms.strategy, terms.instrument.symbol, sign), "I2", f"{terms.cl_ord_id} is {what} otherwise")
    expect(terms.quantity in _quantities(account), "I2", f"{terms.cl_ord_id} is {what} with {terms.quantity}")


def _quantities(account: Account) -> set[Decimal]:
    return {account.quantity, *account.quantities}


def accounts_equal_books(world: World, process: GatewayProcess) -> None:
    """I3 and I4: positions and what works, by owner and instrument."""
    if not process.quiet or process.token != world.newest_token():
        return
    naive = world.accounts.exposures_by_records()
    booked = {}
    for (owner, instrument), item in process.state.books.exposures.items():
        if item.position or item.open_buy or item.open_sell or item.open_orders:
            booked[owner, instrument.symbol] = (item.position, item.open_buy, item.open_sell, item.open_orders)
    if naive != booked:
        keys = [key for key in {*naive, *booked} if naive.get(key) != booked.get(key)]
        text = ", ".join(f"{key}: books {booked.get(key)}, accounts {naive.get(key)}" for key in keys)
        raise Broken("I3", text)
    _sums_are_kept(process.state.books)


def _sums_are_kept(books: gateway_books.Books) -> None:
    """What rules of many owners are judged by is the sum of what each owner holds and works."""
    owners: dict[InstrumentId, set[str]] = {}
    sums: dict[InstrumentId, list[Decimal | int]] = {}
    for (owner, instrument), item in books.exposures.items():
        if instrument not in sums:
            owners[instrument], sums[instrument] = set(), [ZERO, ZERO, ZERO, 0]
        owners[instrument].add(owner)
        found = sums[instrument]
        found[0] += item.position
        found[1] += item.open_buy
        found[2] += item.open_sell
        found[3] += item.open_orders
    for instrument, account in books.account.items():
        counted = owners.get(instrument, set())
        if account.owners != counted:
            raise Broken("I3", f"owners of {instrument}: {account.owners}, not {counted}")
        total = account.total
        kept = [total.position, total.open_buy, total.open_sell, total.open_orders]
        expected = sums.get(instrument, [ZERO, ZERO, ZERO, 0])
        if kept != expected:
            raise Broken("I3", f"{instrument}: {kept} are not the sums, {expected}")


def breaches_stay(world: World, process: GatewayProcess) -> None:
    """I14: what was found and not cleared is still in force."""
    latched, known = process.state.books.breaches.keys(), world.accounts.breaches.keys()
    if process.quiet and process.token == world.newest_token() and latched != known:
        raise Broken("I14", f"breaches {sorted(latched)} are in force, not {sorted(known)}")


def executions_are_the_venues(world: World) -> None:
    """I3: nothing is booked that the venue did not execute, under the owner of its order."""
    ledger = world.venue.exchange.ledger
    for exec_id, (owner, signed) in world.accounts.booked.items():
        executed = ledger.executions.get(exec_id)
        if executed is None:
            raise Broken("I3", f"execution {exec_id} is booked and unknown to the venue")
        expect(signed == executed.quantity * executed.side.sign, "I3", f"execution {exec_id} has other numbers")
        account = world.accounts.orders.get(executed.cl_ord_id)
        expect(owner == (account.owner if account else ""), "I3", f"execution {exec_id} belongs to somebody else")
    amounts = {item.charge_id: item.amount for item in ledger.charges}
    for charge_id, parts in world.accounts.charged.items():
        expect(charge_id in amounts, "I3", f"charge {charge_id} is booked and unknown to the venue")
        expect(sum(parts.values()) == amounts[charge_id], "I3", f"the parts of charge {charge_id} are not the whole")


def recovered_equals_live(world: World, process: GatewayProcess) -> None:
    """I7."""
    if not process.quiet or process.token != world.newest_token() or world.log.delayed:
        return
    live = _comparable(process.state.books.to_message(), process.engine_ns)
    for log in (world.log, MemoryLog(records=world.log.records)):
        books, events, _ = MemoryWriter(log).recover()
        recovered = gateway_books.recover(world.venue_name, books, events)
        message = _comparable(recovered.to_message(), process.engine_ns)
        if message != live:
            start = "a snapshot" if log is world.log else "the beginning"
            raise Broken("I7", f"from {start}: {_difference(message, live)}")


def _comparable(message: journal_pb2.Books, now_ns: int) -> journal_pb2.Books:
    """Without the messages that rates count: a refused one counts at once and is journaled within a second, and what
    must not be forgotten of them is I4. Of executions in windows the sums count: whenever somebody looks, times that
    are older get coarser, up to a minute, and those of the day before are dropped. Exposures of nothing and order of
    owners say nothing either."""
    del message.messages[:]
    widest = TIERS[-1][1]
    since = -(-(now_ns - HORIZON_NS) // widest) * widest
    for windows in (message.buys, message.sells):
        for item in windows:
            item.counts[:] = [sum(n for at_ns, n in zip(item.unix_ns, item.counts, strict=True) if at_ns >= since)]
            del item.unix_ns[:]
        kept = [item for item in windows if item.counts[0]]
        del windows[:]
        windows.extend(kept)
    message.positions.sort(key=lambda item: (item.strategy, item.symbol))
    message.counters.sort(key=lambda item: item.strategy)
    message.used_ids.sort(key=lambda item: item.prefix)
    return message


def _difference(one: journal_pb2.Books, other: journal_pb2.Books) -> str:
    for field in journal_pb2.Books.DESCRIPTOR.fields:
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if mine != theirs:
            if hasattr(mine, "__iter__") and not isinstance(mine, str):
                left = [str(item) for item in mine if item not in theirs]
                right = [str(item) for item in theirs if item not in mine]
                return f"{field.name}: recovered {left}, live {right}"
            return f"{field.name}: recovered {mine}, live {theirs}"
    return "order"


def everything_open_is_cancelled(world: World, process: GatewayProcess, cancels: Sequence[SendCancel]) -> None:
    """I10."""
    if process.token != world.newest_token():
        return
    cancelled = {world.venue.root(effect.cancel.orig_cl_ord_id) for effect in cancels}
    left = {world.venue.root(order.cl_ord_id) for order in world.accounts.open.values()} - cancelled
    # What the batch without a journal has ended is over, whoever knows it.
    left = {root for root in left if (order := process.state.books.find(root)) is not None and order.is_open}
    expect(not left, "I10", f"{sorted(left)} stay open at the venue")


def nothing_stays_unknown(world: World, process: GatewayProcess) -> None:
    """I9."""
    for order in process.state.books.open.values():
        text = f"{order.cl_ord_id} is still {order.status.value} {order.reason} of {process.state.books.halts.keys()}"
        expect(not _is_asked_for(order), "I9", text)
        state = world.accounts.state(order.terms.strategy)
        stopped = state in (TradingState.HALTED, TradingState.FLATTEN)
        expect(not stopped, "I5", f"{order.cl_ord_id} works although its strategy is {state.value}")


def nothing_is_lost(world: World) -> None:
    """I3 at the end of a run: what the venue executed and took back is booked."""
    ledger, booked = world.venue.exchange.ledger, world.accounts.booked
    missing = set(ledger.executions) - set(booked)
    expect(not missing, "I3", f"executions {sorted(missing)} are not booked")
    uncharged = {item.charge_id for item in ledger.charges} - set(world.accounts.charged) - world.venue.lost_charges
    # Orders are quiet at the end, but what is held is charged to the last moment.
    uncharged -= world.venue.charges_on_the_way()
    expect(not uncharged, "I3", f"charges {sorted(uncharged)} are not booked")
    unbusted = (set(ledger.busts) & set(booked)) - world.accounts.busted
    expect(not unbusted, "I3", f"executions {sorted(unbusted)} were taken back and are still booked")


def flatten_ends(world: World, process: GatewayProcess) -> None:
    """I8."""
    state = process.state
    for (owner, instrument), position in state.books.positions.items():
        if world.accounts.state(owner) is not TradingState.FLATTEN or not position.quantity:
            continue
        left = [
            item
            for item in remaining(state, owner, state.control(owner))
            if item.instrument.symbol == instrument.symbol
        ]
        held = f"{owner} holds {position.quantity} {instrument}"
        expect(len(left) == 1 and left[0].reason and left[0].text, "I8", f"{held} and no reason is given")
        expect(
            left[0].reason != "OrderPending",
            "I8",
            f"{held} and waits for {left[0].text}, though nothing moves any more",
        )
