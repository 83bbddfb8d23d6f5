"""What is done about refused orders: wait before the next one, or cut it to what the limits let pass.

An order that was refused for a reason that does not go away by itself is not sent again at every event. Per instrument
and side the next one waits MIN_PAUSE, doubling with each further refusal up to MAX_PAUSE; a reason that passes by
itself (a rate, a stale price, a session that is being opened) waits much less. A pause ends early

- when the planned quantity is smaller than every one refused in it, where the reason is a size;
- so, too, when it is CloseOnly and the order only reduces the position;
- at a fill in the instrument, because positions count in limits;
- when the gateway reports another configuration or another reason to block.

With spec.policy.execution.sliceToLimits an order that was refused for its own size is halved until it passes, in whole
lots. The size that passed is kept; after GROW_AFTER orders of that size a larger one is tried, because a limit may have
been raised, and each try that fails doubles the number of orders until the next. All of it is counted, none of it
random, so the same answers give the same orders.

Times are in nanoseconds of whatever clock the caller keeps to: wall clock, or event time where the market waits for us.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.numbers import ZERO, round_down
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.reasons import Reason

SECOND_NS = 1_000_000_000
MIN_PAUSE_NS, MAX_PAUSE_NS = SECOND_NS, 60 * SECOND_NS
MIN_PASSING_PAUSE_NS, MAX_PASSING_PAUSE_NS = SECOND_NS // 4, 2 * SECOND_NS
GROW_AFTER = 20
MAX_GROW_AFTER = 1280
GROWTH = Decimal("1.25")

PASSING = frozenset(
    {
        Reason.MAX_ORDER_RATE,
        Reason.VENUE_RATE_LIMIT,
        Reason.ORDER_TOO_LATE,
        Reason.SESSION_NOT_ESTABLISHED,
        Reason.SESSION_LOST,
        Reason.GATEWAY_STOPPING,
        Reason.MISSING_MARKET_DATA,
        Reason.STALE_MARKET_DATA,
        Reason.NOT_SENT,
    }
)
"""Reasons that go away by themselves."""

SLICED = frozenset({Reason.MAX_ORDER_QUANTITY, Reason.MAX_ORDER_NOTIONAL})
"""Reasons that a smaller order does not meet, whatever the position."""


@dataclass(slots=True)
class _Pause:
    """Refusals in a row for one instrument and side."""

    until_ns: int
    delay_ns: int
    smallest: Decimal
    by_size: bool
    passing: bool
    close_only: bool


@dataclass(slots=True)
class _Cap:
    """The largest quantity to send, learned from refusals; `passed` is the largest that was accepted under it."""

    quantity: Decimal
    passed: Decimal = ZERO
    accepted: int = 0
    grow_after: int = GROW_AFTER


class Refusals:
    """The refusals of one strategy's orders."""

    def __init__(self, slice_to_limits: bool) -> None:
        self._slice_to_limits = slice_to_limits
        self._pauses: dict[tuple[InstrumentId, Side], _Pause] = {}
        self._caps: dict[tuple[InstrumentId, str], _Cap] = {}

    @property
    def any_lasting(self) -> bool:
        """True while a pause is for a reason that does not go away by itself."""
        return not all(pause.passing for pause in self._pauses.values())

    @property
    def learned(self) -> bool:
        """Whether anything that was refused bears on what is sent next."""
        return bool(self._pauses or self._caps)

    def must_wait(
        self, instrument: InstrumentId, side: Side, quantity: Decimal, now_ns: int, *, reduces: bool = False
    ) -> bool:
        """True while an order of that quantity is not to be sent; `reduces` says that it only reduces the position."""
        pause = self._pauses.get((instrument, side))
        if pause is None or now_ns >= pause.until_ns:
            return False
        return not ((pause.by_size or (pause.close_only and reduces)) and quantity < pause.smallest)

    def reduce_only(self, instrument: InstrumentId, now_ns: int) -> bool:
        """True while a pause says that only orders which reduce the position are admitted."""
        pauses = (self._pauses.get((instrument, side)) for side in Side)
        return any(pause is not None and pause.close_only and now_ns < pause.until_ns for pause in pauses)

    def cap(self, instrument: InstrumentId) -> Decimal | None:
        """The largest quantity to send; None when there is no known bound."""
        caps = [cap.quantity for (name, _), cap in self._caps.items() if name == instrument]
        return min(caps, default=None)

    def refused(self, instrument: Instrument, side: Side, quantity: Decimal, reason: str, now_ns: int) -> bool:
        """Takes the refusal of an order; returns whether people should know: not when a smaller order is tried next,
        and where the reason passes by itself only when it has not done so for a while."""
        if self._slice_to_limits and reason in SLICED and self._cut(instrument, quantity, reason):
            return False
        passing = reason in PASSING
        first, longest = (MIN_PASSING_PAUSE_NS, MAX_PASSING_PAUSE_NS) if passing else (MIN_PAUSE_NS, MAX_PAUSE_NS)
        pause = self._pauses.get((instrument.id, side))
        delay = first if pause is None or pause.passing != passing else min(2 * pause.delay_ns, longest)
        smallest = quantity if pause is None else min(quantity, pause.smallest)
        self._pauses[instrument.id, side] = _Pause(
            until_ns=now_ns + delay,
            delay_ns=delay,
            smallest=smallest,
            by_size=reason.startswith("Max") and not passing,
            passing=passing,
            close_only=reason == Reason.CLOSE_ONLY,
        )
        return not passing or delay == longest

    def accepted(self, instrument: Instrument, side: Side, quantity: Decimal) -> None:
        """The venue took an order: its side is free again, and a cap that it used up may grow."""
        self._pauses.pop((instrument.id, side), None)
        for (name, _), cap in self._caps.items():
            if name == instrument.id and quantity >= cap.quantity:
                _grow(cap, instrument.lot_size)

    def filled(self, instrument: InstrumentId) -> None:
        """The position moved: what it was refused for may not hold any more."""
        for side in Side:
            self._pauses.pop((instrument, side), None)

    def configuration_changed(self, venue: str) -> None:
        """The gateway's limits or its reason to block are others now: nothing learned there holds."""
        self._pauses = {key: pause for key, pause in self._pauses.items() if key[0].venue != venue}
        self._caps = {key: cap for key, cap in self._caps.items() if key[0].venue != venue}

    def _cut(self, instrument: Instrument, quantity: Decimal, reason: str) -> bool:
        """False when there is no smaller order."""
        cap = self._caps.get((instrument.id, reason)) or _Cap(quantity)
        if ZERO < cap.passed < quantity:
            cap.quantity = cap.passed
            cap.grow_after = min(2 * cap.grow_after, MAX_GROW_AFTER)
        else:
            cap.quantity, cap.passed = round_down(quantity / 2, instrument.lot_size), ZERO
        cap.accepted = 0
        if cap.quantity <= 0 or cap.quantity < instrument.min_quantity:
            self._caps.pop((instrument.id, reason), None)
            return False
        self._caps[instrument.id, reason] = cap
        return True


def _grow(cap: _Cap, lot_size: Decimal) -> None:
    cap.passed = cap.quantity
    cap.accepted += 1
    if cap.accepted >= cap.grow_after:
        cap.accepted = 0
        cap.quantity = max(round_down(cap.quantity * GROWTH, lot_size), cap.quantity + lot_size)
