"""Every limit of RiskLimit.spec.limits that judges an order, computed from what its description says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from crowetrade_agents.auditor import hours
from crowetrade_agents.auditor.case import Case, notional
from crowetrade_agents.auditor.figures import ZERO, Range, decimal, less, shown, times
from crowetrade_agents.auditor.findings import NotJudged, Over, Verdict
from crowetrade_agents.auditor.ledger import Terms
from crowetrade_agents.auditor.messages import SECOND

Values = Mapping[str, str]

NO_QUOTE = NotJudged("the journal does not say the quote that the gate judged by")
NO_PRICES = NotJudged("prices or rates of exchange at that moment were not heard without a gap")
OLDEST_REFERENCE_SECONDS = "60"
"""Age of a quote that a price is compared with, where the rule sets no maxDataAgeSeconds."""
NO_CAPITAL = NotJudged("the capital that it is a share of is not known in the rule's currency")


class Check(NamedTuple):
    """How a limit is judged. `of_closing`: also for the gateway's own orders that close a position."""

    judge: Callable[[Values, Case], Verdict]
    of_closing: bool = False


def _over(computed: Decimal, allowed: Decimal, what: str) -> Over:
    return Over(shown(computed), shown(allowed), f"{what} {shown(computed)} is over {shown(allowed)}")


def _above(computed: Range, allowed: Decimal, what: str) -> Verdict:
    if computed.low > allowed:
        return _over(computed.low, allowed, what)
    return None if computed.high <= allowed else NO_PRICES


def max_order_quantity(values: Values, case: Case) -> Verdict:
    """The whole quantity of the order."""
    allowed = decimal(values["value"])
    return _over(case.order.quantity, allowed, "order quantity") if case.order.quantity > allowed else None


def max_order_notional(values: Values, case: Case) -> Verdict:
    """Quantity x worse of limit price and touch x multiplier, in the rule's currency."""
    order, allowed = case.order, decimal(values["value"])
    listed = case.ledger.listed.get(order.symbol)
    rate = case.exchange(listed.currency) if listed is not None else None
    known = [price for price in (order.price, order.touch) if price is not None]
    if listed is None or rate is None or not known:
        return NO_PRICES
    value = rate.scaled(times(order.quantity, max(known), listed.multiplier))
    verdict = _above(value, allowed, "order notional")
    # With the limit price alone it may have been more.
    return NO_QUOTE if verdict is None and order.touch is None else verdict


def price_collar_bps(values: Values, case: Case) -> Verdict:
    """The limit price on the worse side of the touch, by a quote that is young enough."""
    order, touch, bps = case.order, case.order.touch, decimal(values["value"])
    age = case.rule.limits.get("maxDataAgeSeconds", {}).get("value", OLDEST_REFERENCE_SECONDS)
    if touch is None or (verdict := max_data_age_seconds({"value": age}, case)) is NO_QUOTE:
        return NO_QUOTE
    if verdict is not None or order.price is None:
        return verdict
    away = less(order.price, touch) if order.buy else less(touch, order.price)
    allowed = times(touch, bps, Decimal("0.0001"))
    return _over(away, allowed, "distance of the limit price from the touch") if away > allowed else None


def max_order_rate(values: Values, case: Case) -> Verdict:
    """Messages in the window with this one: those that were sent, and those refused that are certain to be in it."""
    order, ledger, rule = case.order, case.ledger, case.rule
    allowed, window_ns = int(values["count"]), int(values["perSeconds"]) * SECOND
    since = order.at_ns - window_ns
    owners = case.owners
    found = 1 + sum(
        messages.after(since)
        for sent in (ledger.messages, ledger.refused)
        for (owner, symbol), messages in sent.items()
        if owner in owners and rule.covers(symbol)
    )
    if found <= allowed:
        return None
    text = f"{found} order messages in {values['perSeconds']} s are over {allowed}"
    return Over(str(found), str(allowed), text)


def max_open_orders(values: Values, case: Case) -> Verdict:
    """Orders that work, with this one; a replacement takes the place of its order."""
    owners, rule, allowed = case.owners, case.rule, int(values["value"])
    holdings = case.ledger.holdings
    found = (1 if case.order.replaces is None else 0) + sum(
        held.orders for (owner, symbol), held in holdings.items() if owner in owners and rule.covers(symbol)
    )
    return Over(str(found), str(allowed), f"{found} open orders are over {allowed}") if found > allowed else None


def max_position_quantity(values: Values, case: Case) -> Verdict:
    """The position with all working orders of the side filled; what comes nearer to zero always may leave."""
    allowed = decimal(values["value"])
    after = case.worst(case.order.symbol, case.order.buy)
    if after.copy_abs() <= allowed or case.comes_nearer_to_zero():
        return None
    return _over(after.copy_abs(), allowed, "position with working orders")


def max_gross_notional(values: Values, case: Case) -> Verdict:
    """Sum over instruments of the larger side's absolute value; what comes nearer to zero always may leave."""
    allowed = decimal(values["value"])
    if case.comes_nearer_to_zero():
        return None
    total = gross(case)
    return NO_PRICES if total is None else _above(total, allowed, "gross notional")


def gross(case: Case) -> Range | None:
    """Gross notional with the order, in the rule's currency."""
    total = Range.exactly(ZERO)
    for symbol in case.symbols():
        largest, unit = case.largest(symbol), case.unit_value(symbol)
        if not largest:
            continue
        if unit is None:
            return None
        total = total.add(notional(largest, unit))
    return total


def max_net_notional(values: Values, case: Case) -> Verdict:
    """Long minus short, with everything that works on the order's side filled."""
    allowed = decimal(values["value"])
    if case.comes_nearer_to_zero():
        return None
    total = net(case)
    if total is None:
        return NO_PRICES
    towards = total if case.order.buy else total.scaled(Decimal(-1))
    return _above(towards, allowed, "net notional")


def net(case: Case) -> Range | None:
    """Net notional with the order and what works on its side, in the rule's currency."""
    total = Range.exactly(ZERO)
    for symbol in case.symbols():
        worst, unit = case.worst(symbol, case.order.buy), case.unit_value(symbol)
        if not worst:
            continue
        if unit is None:
            return None
        total = total.add(unit.scaled(worst))
    return total


def max_concentration(values: Values, case: Case) -> Verdict:
    """Value in the order's instrument as a share of capital."""
    symbol = case.order.symbol
    if case.comes_nearer_to_zero():
        return None
    unit, capital = case.unit_value(symbol), case.capital()
    if unit is None:
        return NO_PRICES
    if capital is None:
        return NO_CAPITAL
    allowed = capital.scaled(decimal(values["value"]))
    value = notional(case.largest(symbol), unit)
    if value.low > allowed.high:
        return _over(value.low, allowed.high, f"value in {symbol}")
    return None if value.high <= allowed.low else NO_PRICES


def max_data_age_seconds(values: Values, case: Case) -> Verdict:
    """Age of the quote that the gate judged by."""
    order, allowed = case.order, decimal(values["value"])
    if not order.quote_ns:
        return NO_QUOTE
    age = times(Decimal(order.at_ns - order.quote_ns), Decimal("0.000000001"))
    # A quote out of the future is as bad as an old one.
    return _over(age, allowed, "age of the quote in seconds") if age > allowed or age < 0 else None


def duplicate_window_millis(values: Values, case: Case) -> Verdict:
    """The same order of somebody whom the rule counts within the window."""
    order, window_ms = case.order, int(values["value"])
    if order.replaces is not None:
        return None
    terms = Terms(order.strategy, order.symbol, order.buy, order.quantity, order.ord_type, order.price)
    recent = case.ledger.recent
    before = max(
        (recent[same] for owner in case.owners if (same := terms._replace(strategy=owner)) in recent), default=None
    )
    if before is None or order.at_ns - before >= window_ms * 1_000_000:
        return None
    ago = times(Decimal(order.at_ns - before), Decimal("0.000001"))
    return Over(shown(ago), str(window_ms), f"the same order was sent {shown(ago)} ms before, within {window_ms} ms")


def self_match_prevention(values: Values, case: Case) -> Verdict:
    """A working order of the account on the other side that this one could trade with."""
    order = case.order
    if values["value"] != "true":
        return None
    for other in case.ledger.orders.values():
        if other.symbol != order.symbol or other.buy == order.buy:
            continue
        for price in other.prices:
            if _crosses(order.buy, order.price, price):
                text = f"it could trade with {other.cl_ord_id} of the same account"
                return Over(shown(order.price or ZERO), shown(price or ZERO), text)
    return None


def _crosses(buy: bool, price: Decimal | None, other: Decimal | None) -> bool:
    if price is None or other is None:
        return True
    return price >= other if buy else price <= other


def restricted_instruments(values: Values, case: Case) -> Verdict:
    """The instrument may only be left."""
    symbol = case.order.symbol
    if symbol not in values["value"].split(",") or case.reduces():
        return None
    return Over(symbol, "", f"{symbol} is restricted, and the order does not reduce a position in it")


def trading_hours(values: Values, case: Case) -> Verdict:
    """The calendar is open."""
    calendar = values["calendar"]
    if case.reduces() or hours.is_open(calendar, case.order.at_ns):
        return None
    return Over("closed", calendar, f"calendar {calendar} was closed")


ORDER_LIMITS: Mapping[str, Check] = {
    "maxOrderQuantity": Check(max_order_quantity, of_closing=True),
    "maxOrderNotional": Check(max_order_notional, of_closing=True),
    "priceCollarBps": Check(price_collar_bps),
    "maxOrderRate": Check(max_order_rate),
    "maxOpenOrders": Check(max_open_orders),
    "maxPositionQuantity": Check(max_position_quantity),
    "maxGrossNotional": Check(max_gross_notional),
    "maxNetNotional": Check(max_net_notional),
    "maxConcentration": Check(max_concentration),
    "maxDataAgeSeconds": Check(max_data_age_seconds),
    "duplicateWindowMillis": Check(duplicate_window_millis),
    "selfMatchPrevention": Check(self_match_prevention),
    "restrictedInstruments": Check(restricted_instruments),
    "tradingHours": Check(trading_hours),
}
