"""The state of the engine: settings that never change, books that are the fold of the journal, and what is true only
while this process runs."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.breaches import NOT_HELD, Held, held
from crowetrade_agents.control.kills import Channel, Name, selects, stop_of
from crowetrade_agents.control.state import Configuration, Control, Stop, join
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway.books import Books
from crowetrade_agents.gateway.budget import SECOND_NS, TokenBucket
from crowetrade_agents.gateway.effects import Append, Count, Effect, Observe, Report, Tell
from crowetrade_agents.gateway.order import OWN_RUN, ClOrdId, Key, Order
from crowetrade_agents.gateway.refusals import Refusals
from crowetrade_agents.risk.facts import Facts
from crowetrade_agents.risk.pnl import Ledger
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.rules import RuleLimit
from crowetrade_agents.risk.shares import Shares
from crowetrade_agents.risk.standing import Latch, Standing, Watch
from crowetrade_agents.risk.trading_days import Days
from crowetrade_agents.risk.valuation import Valuation
from crowetrade_agents.venues.port import OpenOrder, SessionState, VenueFeatures

UNREAD = Stop(
    TradingState.HALTED,
    Refusal(
        Reason.KILL_SWITCH_ENGAGED,
        "no KillSwitch of the API server was read since this gateway started, which counts as engaged",
    ),
)
"""What stops everybody while Live.kill_switches_unread; as much as a KillSwitch that cannot be read."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a gateway is started with. Durations in nanoseconds of wall clock.

    `cancel_after_ns`: how long after its session was lost a strategy's orders are cancelled. `answer_after_ns`: silence
    of the venue about a request after which the order counts as unknown and is asked for. `recall_after_ns`: how long
    after an order was open the venue is asked for executions whose report was lost.
    """

    namespace: str
    venue: str
    pod: str
    instruments: Mapping[InstrumentId, Instrument]
    features: VenueFeatures = field(default_factory=VenueFeatures)
    orders_per_second: int = 10
    order_burst: int = 20
    cancels_per_second: int = 20
    cancel_after_ns: int = 5 * SECOND_NS
    answer_after_ns: int = 10 * SECOND_NS
    recall_after_ns: int = 60 * SECOND_NS


@dataclass(slots=True)
class Closing:
    """A position that is being closed: how often in vain in a row, when to try again, and why it is not done yet."""

    attempts: int = 0
    retry_ns: int = 0
    reason: str = ""
    text: str = ""
    final: bool = False


@dataclass(slots=True)
class Orphan:
    """An order at the venue that belongs to nobody, the ClOrdID of its last cancel, and when to look again."""

    order: OpenOrder
    cancel_id: str = ""
    due_ns: int = 0


@dataclass(slots=True)
class KillProgress:
    """How far one kill order is. Times are wall clock, ns; 0 before. `stored`: it stands in the journal or in the pod's
    file, so that it may be acknowledged."""

    channel: str
    seen_ns: int
    blocked_ns: int = 0
    halted_ns: int = 0
    stored: bool = False
    # Orders that left before, and that the venue had not answered.
    in_flight: list[Order] = field(default_factory=list)
    # Orders that it cancels.
    open: list[Order] = field(default_factory=list)
    # Positions that Flatten closes.
    held: list[Key] = field(default_factory=list)
    # First ClOrdIDs of those whose cancel was sent.
    cancelled: set[str] = field(default_factory=set)
    # The kill order and the configuration by which those whom it stops were looked up last.
    looked_up: tuple[journal_pb2.KillChanged, Configuration] | None = None


@dataclass(slots=True)
class Judging:
    """What gateway/breaches.py keeps between commands; all of it is false and empty while no rule needs it."""

    # Some rule has a limit that can be breached; one that counts losses or a day's messages; one that the market moves.
    active: bool = False
    losses: bool = False
    exposures: bool = False
    watches_of: dict[Ledger, list[Watch]] = field(default_factory=dict)
    # By strategy and what it has done (gateway/breaches.py, TRIGGERS), limits that are judged then.
    conduct: dict[tuple[str, str], list[RuleLimit]] = field(default_factory=dict)
    # By strategy, how many rejects in a row the strictest limit admits whose breach is not latched; None without one.
    # Emptied whenever breaches or the rules change.
    rejects: dict[str, int | None] = field(default_factory=dict)
    # Ledgers that fell below their floor.
    below: list[Ledger] = field(default_factory=list)
    # Since when a loss is above this gateway's share and within the whole limit, while others may have some to give.
    lacking: dict[Latch, int] = field(default_factory=dict)
    # Exposures that are above their limit and were found before.
    above: set[Latch] = field(default_factory=set)
    # Whether what is not known yet may be known now.
    settle: bool = False
    # Whether the feed was silent at the last command.
    silent: bool = False
    # The trading day by each calendar, looked at in another second than this.
    days: dict[Days, str] = field(default_factory=dict)
    second: int = 0
    # Whether a round over the ledgers is going on, at which part it is, and whether something has moved since it began.
    ticking: bool = False
    part: int = 0
    moved: bool = False
    # Strategy -> what breaches do to it; emptied whenever they or the rules change.
    held: dict[str, Held] = field(default_factory=dict)
    # When a strategy that is slowed down sent last.
    slowed_ns: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Demand:
    """What would be used of a limit with an order that was refused for lack of a share, in millionths; the highest of
    those that came shortly after one another, the last one at `at_ns`."""

    at_ns: int
    wanted: int


@dataclass(slots=True)
class Live:
    """What is true while the process runs. Times are wall clock, nanoseconds since the Unix epoch."""

    order_budget: TokenBucket
    cancel_budget: TokenBucket
    # Time of the last command.
    now_ns: int = 0
    # When this process has taken over.
    started_ns: int = 0
    # Sequence of the journal's last event when this process opened it, and of the last that it recorded.
    start_sequence: int = 0
    sequence: int = 0
    configuration: Configuration = field(default_factory=Configuration)
    # A configuration, and what strategies may do as long as nothing else restricts them.
    controls: tuple[Configuration, dict[str, Control]] = field(default_factory=lambda: (Configuration(), {}))
    # False until the first one arrived, or it is known that there is none.
    configured: bool = False
    # False until the first one that binds strategies is in force.
    has_judged: bool = False
    # Whether the operator has this gateway itself on record, or something that the journal lost.
    record_checked: bool = False
    session: SessionState = SessionState.CONNECTING
    session_text: str = ""
    session_since_ns: int = 0
    # Venue time since when the last logon has asked for executions: those before it are booked.
    asked_since_ns: int = 0
    # Whether the time is set at which the venue is asked for executions that were lost.
    recalls: bool = False
    leaving: bool = False
    marks: dict[InstrumentId, Mark] = field(default_factory=dict)
    # Instruments with a new quote since somebody emptied this.
    quoted: set[InstrumentId] = field(default_factory=set)
    # What this gateway holds of limits that several gateways share.
    shares: Shares = field(default_factory=dict)
    # By the limit; and how often something was put there.
    demands: dict[tuple[str, str], Demand] = field(default_factory=dict)
    demands_noted: int = 0
    feed_alive_ns: int = 0
    published: int = 0
    # Strategy -> number of its session.
    sessions: dict[str, int] = field(default_factory=dict)
    # Strategy -> since when it has none.
    lost: dict[str, int] = field(default_factory=dict)
    # By strategy, what is to be journaled as refused; and when.
    refused: dict[str, Refusals] = field(default_factory=dict)
    refused_due_ns: int = 0
    closing: dict[Key, Closing] = field(default_factory=dict)
    # By the ClOrdID that they have at the venue.
    orphans: dict[str, Orphan] = field(default_factory=dict)
    # Of Books.kills.
    kills: dict[Name, KillProgress] = field(default_factory=dict)
    # Whether KillSwitches at the API server are to be watched and were not read yet: unknown counts as engaged.
    kill_switches_unread: bool = False
    # KillSwitch -> uid and generation as of which it is not engaged; one entry for each that people have made since the
    # process began.
    rearmed: dict[Name, tuple[str, int]] = field(default_factory=dict)
    # Strategy -> what kill orders ask for; emptied whenever they or the labels change.
    kill_stops: dict[str, tuple[Stop, ...]] = field(default_factory=dict)
    timers: list[tuple[int, str, str]] = field(default_factory=list)
    # Last number of the gateway's own requests.
    own_requests: int = 0
    throttled: int = 0
    standing: Standing = field(default_factory=Standing)
    judging: Judging = field(default_factory=Judging)


@dataclass(slots=True)
class GatewayState:
    """Everything that `engine.handle` sees."""

    settings: Settings
    books: Books
    live: Live
    valuation: Valuation = field(init=False)

    def __post_init__(self) -> None:
        books, live = self.books, self.live
        self.valuation = Valuation(
            books.exposures, books.account, self.settings.instruments, live.marks, books.moved, live.quoted
        )

    @classmethod
    def start(cls, settings: Settings, books: Books, start_sequence: int) -> GatewayState:
        """The state of a process that has just opened its journal. Of what is open nobody has looked yet whom a kill
        order stops."""
        left = list(books.open.values())
        live = Live(
            TokenBucket(settings.orders_per_second, settings.order_burst),
            TokenBucket(settings.cancels_per_second, settings.cancels_per_second),
            started_ns=books.at_ns,
            start_sequence=start_sequence,
            sequence=start_sequence + 1,  # with the record of this session
            kills={
                name: KillProgress(Channel.JOURNAL, books.at_ns, stored=True, in_flight=[*left], open=[*left])
                for name in books.kills
            },
        )
        return cls(settings, books, live)

    def settle(self) -> None:
        """Takes in what has moved, so that the next decision need not: whoever handles commands calls it when what they
        asked for is on its way."""
        if self.books.moved or self.live.quoted:
            self.valuation.settle()

    @property
    def can_reduce(self) -> bool:
        """Whether cancels and questions can leave: also when the venue takes no orders any more."""
        return self.live.session in (SessionState.LOGGED_ON, SessionState.ENDED)

    def own_id(self, strategy: str) -> str:
        """A ClOrdID of the gateway's own."""
        self.live.own_requests += 1
        return str(ClOrdId(strategy, f"{OWN_RUN}{self.books.fencing_token}", self.live.own_requests))

    def control(self, strategy: str) -> Control:
        """What the strategy may do now."""
        live, books = self.live, self.books
        if books.halts or books.kills or books.breaches or live.leaving or live.kill_switches_unread:
            return join(live.configuration, books.halts, live.leaving, strategy, self._stops(strategy))
        configuration, known = live.controls
        if configuration is not live.configuration:
            live.controls = configuration, known = live.configuration, {}
        found = known.get(strategy)
        if found is None:
            found = known[strategy] = join(configuration, books.halts, False, strategy)
        return found

    def _stops(self, strategy: str) -> Sequence[Stop]:
        books, known = self.books, self.live.kill_stops
        others = self.held(strategy).stops
        if self.live.kill_switches_unread:
            others = (*others, UNREAD)
        if not books.kills:
            return others
        if strategy not in known:
            known[strategy] = tuple(
                stop_of(item.order) for name, item in books.kills.items() if self.is_killed(name, strategy)
            )
        return (*known[strategy], *others)

    def is_killed(self, name: Name, strategy: str) -> bool:
        """Whether the kill order in force stops the strategy. Whom it has stopped stays so until it is re-armed."""
        if strategy in self.books.kept_stopped[name]:
            return True
        return selects(self.books.kills[name].order, self.live.configuration, self.settings.namespace, strategy)

    def held(self, strategy: str) -> Held:
        """What breaches do to the strategy."""
        if not self.books.breaches:
            return NOT_HELD
        known = self.live.judging.held
        if strategy not in known:
            known[strategy] = held(self.books.breaches.values(), self.live.configuration, strategy)
        return known[strategy]

    def facts(self, strategy: str, now_ns: int) -> Facts:
        """What the gate knows when it judges something of the strategy. Who asks beside the engine may have read the
        clock before the engine did: a time that went back would forget what rates count."""
        live, books = self.live, self.books
        control = self.control(strategy)
        return Facts(
            now_ns=max(now_ns, live.now_ns),
            trading_state=control.state,
            control_refusal=control.refusal,
            tradable=live.configuration.tradable,
            rules=live.configuration.rules,
            instruments=self.settings.instruments,
            marks=live.marks,
            feed_alive_ns=live.feed_alive_ns,
            session_ready=live.session is SessionState.LOGGED_ON,
            exposures=books.exposures,
            messages=books.messages,
            members=books.members,
            account=books.account,
            required_limits=live.configuration.required_limits,
            capital=live.configuration.capital,
            shares=live.shares,
            working=books.working,
            recent=books.recent,
            valuation=self.valuation,
            standing=live.standing,
        )


class Turn:
    """One command being handled: what it records moves the books at once, and all that it asks for is collected."""

    __slots__ = ("books", "effects", "live", "now_ns", "recorded", "settings", "state")

    def __init__(self, state: GatewayState, now_ns: int) -> None:
        self.state = state
        self.settings, self.books, self.live = state.settings, state.books, state.live
        self.now_ns = now_ns
        self.effects: list[Effect] = []
        # Those of the effects that are to be appended.
        self.recorded: list[journal_pb2.JournalEvent] = []

    def record(self, event: journal_pb2.JournalEvent) -> None:
        """Books the event and asks for its append."""
        event.at_unix_ns = self.now_ns
        self.books.apply(event)
        self.live.sequence += 1
        self.effects.append(Append(event))
        self.recorded.append(event)

    def add(self, effect: Effect) -> None:
        """Asks for something."""
        self.effects.append(effect)

    def report(self, strategy: str, message: Report | None) -> None:
        """Reports to a strategy's session if it has one."""
        if message is not None and strategy in self.live.sessions:
            self.effects.append(message)

    def observe(self, metric: str, nanoseconds: int) -> None:
        """Observes a duration in a histogram."""
        self.effects.append(Observe(metric, nanoseconds / SECOND_NS))

    def count(self, metric: str, *labels: str, amount: int = 1) -> None:
        """Counts in a metric."""
        self.effects.append(Count(metric, labels, amount))

    def tell(self, level: str, event: str, **fields: object) -> None:
        """Writes a log line."""
        self.effects.append(Tell(level, event, tuple((name, str(value)) for name, value in fields.items())))

    def wake(self, at_ns: int, kind: str, key: str) -> None:
        """Wants a Timer command at this time; `engine` hands it to the kind's handler."""
        heapq.heappush(self.live.timers, (at_ns, kind, key))
