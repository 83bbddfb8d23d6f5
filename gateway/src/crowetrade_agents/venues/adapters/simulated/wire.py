"""The messages between the simulated venue's server and its client, beside requests and port events."""

from __future__ import annotations

from dataclasses import dataclass, field

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Query, Replace
from crowetrade_agents.venues.adapters.simulated.spec import SimulatedSpec
from crowetrade_agents.venues.port import (
    Accepted,
    Busted,
    Charged,
    Ended,
    Executed,
    FeedAlive,
    OrderState,
    QuoteChanged,
    Recalled,
    Replaced,
    RequestRejected,
    Resume,
    SessionChanged,
    TradePrinted,
    VenueSnapshot,
)


@dataclass(frozen=True, slots=True)
class Logon:
    """The first message of a client."""

    resume: Resume
    api_key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renew:
    """The session goes on with this key."""

    api_key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Release:
    """In lock step: market data up to this sequence is handled."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Recall:
    """The client wants to hear the executions since then (venue time) again."""

    since_ns: int


@dataclass(frozen=True, slots=True)
class LoggedOn:
    """The answer to a logon."""

    snapshot: VenueSnapshot


@dataclass(frozen=True, slots=True)
class Refused:
    """The other answer to a logon; the connection ends. Also the other answer to a renewal; the session goes on."""

    text: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """The answer to a renewal."""


@dataclass(frozen=True, slots=True)
class ServerFile:
    """What the server is started with."""

    instruments: tuple[Instrument, ...]
    spec: SimulatedSpec


ToServer = Logon | Renew | Release | Recall | NewOrder | Cancel | Replace | Query
ToClient = (
    LoggedOn
    | Refused
    | Renewed
    | Accepted
    | Busted
    | Charged
    | Ended
    | Executed
    | FeedAlive
    | OrderState
    | QuoteChanged
    | Recalled
    | Replaced
    | RequestRejected
    | SessionChanged
    | TradePrinted
)
