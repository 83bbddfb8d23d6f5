"""What may happen to the engine. Every command is a frozen value; whoever has one puts it into the gateway's one queue.

Times are wall-clock nanoseconds since the Unix epoch. The commands of sessions are defined in order_entry/commands.py,
one layer below, where they are made; those of kill orders in control/kills.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from crowetrade_agents.allowances.holder import Key
from crowetrade_agents.control.kills import Kill, Rearm
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.order_entry.commands import (
    CancelOrder,
    Logon,
    Malformed,
    NewOrder,
    ReplaceOrder,
    SessionLost,
)
from crowetrade_agents.venues.port import VenueEvent, VenueSnapshot

__all__ = [
    "CancelOrder",
    "Command",
    "Configure",
    "FromVenue",
    "Kill",
    "KillSwitchesListed",
    "Leave",
    "Logon",
    "Malformed",
    "NewOrder",
    "Rearm",
    "ReplaceOrder",
    "SessionLost",
    "SharesChanged",
    "Timer",
    "VenueConnected",
]


@dataclass(frozen=True, slots=True)
class Configure:
    """A configuration arrived (or could not be read, or was deleted: then it says so)."""

    configuration: Configuration


@dataclass(frozen=True, slots=True)
class KillSwitchesListed:
    """Every KillSwitch at the API server was read since the process began, and those that are engaged were put."""


@dataclass(frozen=True, slots=True)
class VenueConnected:
    """The venue logged the gateway on and reported what it knows."""

    snapshot: VenueSnapshot


class FromVenue(NamedTuple):
    """The venue reported something. A tuple, because one is made for every quote."""

    event: VenueEvent


@dataclass(frozen=True, slots=True)
class SharesChanged:
    """What the gateway may use of limits that several gateways share, in millionths by uid of the RiskLimit and limit;
    what is not named must not be used. `held` is the most, `kept` what it should go on using of that: the rest is to be
    given back."""

    held: Mapping[Key, int]
    kept: Mapping[Key, int]


@dataclass(frozen=True, slots=True)
class Leave:
    """The gateway was asked to stop: nothing new, what is open is cancelled; strategies in state Flatten go on
    closing."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Time has come for what engine.next_timer named."""


Command = (
    Logon
    | SessionLost
    | NewOrder
    | CancelOrder
    | ReplaceOrder
    | Malformed
    | Configure
    | Kill
    | Rearm
    | KillSwitchesListed
    | VenueConnected
    | FromVenue
    | SharesChanged
    | Leave
    | Timer
)
