"""How a user names one resource."""

from __future__ import annotations

import pytest

from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.errors import WrongUse
from crowetrade_cli.fleet.api_server import Kind
from crowetrade_cli.fleet.reference import reference


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("ema", Strategy, "ema"),
        ("strategy/ema", Strategy, "ema"),
        ("strategies/ema", Strategy, "ema"),
        ("strat/ema", Strategy, "ema"),
        ("Venue/sim-fx", VenueConnection, "sim-fx"),
        ("venueconnection/sim-fx", VenueConnection, "sim-fx"),
        ("risk/desk", RiskLimit, "desk"),
        ("kill/all", KillSwitch, "all"),
    ],
)
def test_what_is_named(text: str, kind: Kind, name: str) -> None:
    assert reference(text) == (kind, name)


@pytest.mark.parametrize("text", ["", "venue/", "pod/x", "/x", "risk/desk", "a/b/c"])
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(WrongUse, match=r"write strategy/NAME or venueconnection/NAME"):
        reference(text, (Strategy, VenueConnection))
