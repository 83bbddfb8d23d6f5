"""How a user names one resource: `strategy/NAME`, by any name that kubectl takes for the kind, or NAME alone. Pure."""

from __future__ import annotations

from typing import NamedTuple

from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.errors import WrongUse
from crowetrade_cli.fleet.api_server import Kind

KINDS: tuple[Kind, ...] = (Strategy, VenueConnection, RiskLimit, KillSwitch)
_BY_WORD: dict[str, Kind] = {word: kind for kind in KINDS for word in (kind.SINGULAR, kind.PLURAL, *kind.SHORT_NAMES)}


class Reference(NamedTuple):
    """A kind and a name."""

    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.__name__} {self.name}"


def reference(text: str, allowed: tuple[Kind, ...] = KINDS) -> Reference:
    """What the text names; a name alone is that of a Strategy. Raises WrongUse."""
    word, slash, name = text.rpartition("/")
    kind = _BY_WORD.get(word.lower()) if slash else Strategy
    if kind not in allowed or not name:
        words = " or ".join(f"{kind.SINGULAR}/NAME" for kind in allowed)
        raise WrongUse(f"{text} names nothing here: write {words}")
    return Reference(kind, name)
