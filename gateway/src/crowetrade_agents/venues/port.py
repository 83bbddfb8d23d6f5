"""What the gateway asks of a venue, and what a venue reports by itself. Adapters accept nothing but what the gate
approved.

`submit`, `cancel`, `replace` and `query` hand over and return nothing: they neither wait nor raise. Everything that
follows arrives through `events`. What an adapter cannot send it reports as an event (Ended with REJECTED and reason
NotSent, RequestRejected), or as a lost session.

A number of an event or a snapshot has at most 20 digits before the point and 18 after it (domain/numbers.py); an
adapter rounds what its venue says more exactly. The gateway halts at an execution, bust or charge that says more.

Every adapter passes the numbered suite in agents/tests/crowetrade_agents_tests/venue_conformance/.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import NamedTuple, Protocol

from crowetrade_agents.domain.flow import MarketEvent
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import TopOfBook, Trade
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue has the order (ExecType New). Times of all events: venue time, nanoseconds since the Unix epoch."""

    cl_ord_id: str
    order_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Executed:
    """An execution (ExecType Trade). `exec_id` is unique at the venue (FIX tag 17); quantity in units, price and fee in
    quote currency. It names instrument and side itself, because its order may be one that the gateway does not know."""

    cl_ord_id: str
    order_id: str
    exec_id: str
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The order is over without further executions: `status` is CANCELED, REJECTED or EXPIRED. For a cancel that was
    asked for, this is its confirmation. `cl_ord_id` is the order's, not the request's.

    A REJECTED with reason DUPLICATE_CL_ORD_ID (FIX tag 103 = 6) concerns the second order of that ClOrdID alone: the
    first one goes on. `order_id` is empty when the venue took no order.
    """

    cl_ord_id: str
    order_id: str
    status: OrdStatus
    reason: str
    text: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Replaced:
    """The order goes on with the terms of the request, under the request's ClOrdID.

    When the requested quantity is at or below what has been executed, the order's quantity becomes the executed
    quantity: the order is Filled, and nothing else follows (FIX 4.4 volume 4, appendix D, cases C.2.b and C.2.c).
    Executions that were on their way are reported before it.
    """

    cl_ord_id: str
    orig_cl_ord_id: str
    order_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class RequestRejected:
    """A cancel or cancel/replace was refused (FIX OrderCancelReject). `unknown_order`: the venue has no such open order
    (FIX tag 102 = 1, or 0 = too late). The reason DUPLICATE_CL_ORD_ID (FIX tag 102 = 6) concerns the second request of
    that ClOrdID alone."""

    cl_ord_id: str
    orig_cl_ord_id: str
    reason: str
    text: str
    unknown_order: bool
    at_ns: int


@dataclass(frozen=True, slots=True)
class Busted:
    """The venue takes the execution `exec_ref_id` back (ExecType Trade Cancel), with the numbers that it had. What was
    executed does not work again: the order's leaves stay as they are."""

    cl_ord_id: str
    exec_id: str
    exec_ref_id: str
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at_ns: int


class ChargeKind(Enum):
    """Why a position is charged."""

    FUNDING = "Funding"
    ROLLOVER = "Rollover"


@dataclass(frozen=True, slots=True)
class Charged:
    """The account pays `amount` (negative: receives), in quote currency, for holding `quantity` (signed, not 0) of an
    instrument, valued at `price`. `charge_id` is unique at the venue. Executions before it are reported before it."""

    charge_id: str
    kind: ChargeKind
    instrument: InstrumentId
    quantity: Decimal
    price: Decimal
    amount: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderState:
    """The answer to `query` (FIX OrderStatusRequest): `status` None means that the venue knows no such order.

    All executions of the order have been reported before it. `cl_ord_id` is the one that was asked for, `current` the
    one that the order has now (another when it was replaced). `quantity` is the whole quantity, `cum_quantity` what is
    executed.
    """

    cl_ord_id: str
    current: str
    order_id: str
    status: OrdStatus | None
    quantity: Decimal
    price: Decimal | None
    cum_quantity: Decimal
    at_ns: int


class QuoteChanged(NamedTuple):
    """A new best bid and offer; `sequence` is its place in the venue's stream over all instruments, from 1."""

    sequence: int
    book: TopOfBook

    @property
    def market_event(self) -> MarketEvent:
        """As strategies see it."""
        return MarketEvent(self.sequence, self.book.event_ns, self.book.instrument, self.book)


class TradePrinted(NamedTuple):
    """A trade of others at the venue; `sequence` as for quotes, `aggressor` None when the source does not say."""

    sequence: int
    instrument: InstrumentId
    price: Decimal
    quantity: Decimal
    aggressor: Side | None
    at_ns: int

    @property
    def market_event(self) -> MarketEvent:
        """As strategies see it."""
        trade = Trade(self.instrument, self.at_ns, self.price, self.quantity, self.aggressor)
        return MarketEvent(self.sequence, self.at_ns, self.instrument, trade)


@dataclass(frozen=True, slots=True)
class FeedAlive:
    """The market data session is alive though nothing changed; at least every FEED_ALIVE_SECONDS of wall clock."""

    at_ns: int


class SessionState(Enum):
    """State of the session with the venue."""

    CONNECTING = "Connecting"
    LOGGED_ON = "LoggedOn"
    LOGON_REJECTED = "LogonRejected"
    DISCONNECTED = "Disconnected"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The session changed by itself: DISCONNECTED (connect again), or ENDED (no market data comes any more, as
    after a recording; orders are refused, cancels and queries are still answered)."""

    state: SessionState
    text: str


@dataclass(frozen=True, slots=True)
class Recalled:
    """The answer to `recall`: every execution since then, oldest first, and the busts since then, as in VenueSnapshot.
    Each has been reported before, or was lost."""

    executions: tuple[Executed, ...] = ()
    busts: tuple[Busted, ...] = ()


OrderEvent = Accepted | Executed | Ended | Replaced | RequestRejected | Busted | OrderState | Charged
FeedEvent = QuoteChanged | TradePrinted | FeedAlive
VenueEvent = OrderEvent | FeedEvent | Recalled | SessionChanged

FEED_ALIVE_SECONDS = 1.0
DUPLICATE_CL_ORD_ID = "DuplicateClOrdID"
"""Reason of an Ended with REJECTED, or of a RequestRejected, that says nothing of what first had the ClOrdID."""


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An open order in a snapshot; `status` is NEW or PARTIALLY_FILLED."""

    cl_ord_id: str
    order_id: str
    instrument: InstrumentId
    side: Side
    quantity: Decimal
    price: Decimal | None
    cum_quantity: Decimal
    status: OrdStatus


@dataclass(frozen=True, slots=True)
class VenueSnapshot:
    """What the venue knows at logon. Nothing that an earlier session sent can still arrive after it.

    `executions` holds every execution since `Resume.since_ns`, oldest first, those that were reported before too, and
    those that were taken back since; `busts` says which these are (those whose bust is not older than `since_ns`).
    `charges` are those since then, oldest first.
    `positions` by instrument, None where the venue does not report them. `state` is what the adapter wants back in
    Resume after a restart; it may change from session to session, and the last one counts.
    """

    open_orders: tuple[OpenOrder, ...] = ()
    executions: tuple[Executed, ...] = ()
    busts: tuple[Busted, ...] = ()
    positions: Mapping[InstrumentId, Decimal] | None = None
    state: str = ""
    charges: tuple[Charged, ...] = ()


@dataclass(frozen=True, slots=True)
class Resume:
    """What the gateway knows when it logs on: since when it may have missed executions (venue time, ns; 0: from the
    beginning), the adapter's own words from the last session, and in lock step the last market data event that is done.
    `positions` are the account's by the gateway's books, for a venue that forgets them when its process ends.
    """

    since_ns: int = 0
    state: str = ""
    market_data_sequence: int = 0
    fencing_token: int = 0
    positions: Mapping[InstrumentId, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VenueFeatures:
    """What a venue can do; what it cannot, the gateway refuses or does itself.

    `lock_step`: the venue's market stands still until `release`. `replay_speed`: seconds of event time per second of
    the clock, 1 unless a recording is replayed faster or slower. `ord_types` and the like are added when a venue lacks
    them.
    """

    replace: bool = True
    post_only: bool = True
    positions: bool = False
    lock_step: bool = False
    replay_speed: Decimal = Decimal(1)
    times_in_force: frozenset[str] = field(default_factory=lambda: frozenset({"DAY", "GTC", "IOC", "FOK", "GTD"}))


class LogonRefused(Exception):
    """The venue refused the credentials or the settings; the text is for people."""


class VenueUnavailable(Exception):
    """The venue cannot be reached now; the text is for people."""


class VenuePort(Protocol):
    """One venue."""

    @property
    def features(self) -> VenueFeatures:
        """What it can do."""
        ...

    async def connect(self, resume: Resume) -> VenueSnapshot:
        """Logs on, again after DISCONNECTED. Raises LogonRefused and VenueUnavailable."""
        ...

    async def renew(self) -> None:
        """While there is a session: logs it on again with the credentials as they are now. Orders and events go on
        meanwhile; a venue that can only begin a new session reports DISCONNECTED. Raises LogonRefused and
        VenueUnavailable: then the session goes on with the credentials that it had."""
        ...

    def events(self) -> AsyncIterator[VenueEvent]:
        """Everything that happens after the snapshot, in order, over all sessions; called once. After each snapshot the
        book in force of each instrument comes first, with the sequence that it had."""
        ...

    def submit(self, order: ApprovedOrder) -> None:
        """Hands an order over."""
        ...

    def cancel(self, cancel: ApprovedCancel) -> None:
        """Hands a cancel over."""
        ...

    def replace(self, replace: ApprovedReplace) -> None:
        """Hands a cancel/replace over."""
        ...

    def query(self, cl_ord_id: str, order_id: str, instrument: InstrumentId) -> None:
        """Asks what became of an order; the answer is an OrderState."""
        ...

    def recall(self, since_ns: int) -> None:
        """Asks for the executions since then (venue time, ns), in case that one was lost; the answer is a Recalled, or
        nothing when the session breaks."""
        ...

    def release(self, sequence: int) -> None:
        """In lock step: every strategy has handled market data up to `sequence`, the next event may come. No effect
        elsewhere."""
        ...

    async def close(self) -> None:
        """Logs off and ends `events`."""
        ...
