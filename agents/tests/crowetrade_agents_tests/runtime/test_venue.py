"""What a VenueConnection says of a simulated venue is what the venue does."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crowetrade_agents.errors import ConfigurationError, DataError
from crowetrade_agents.runtime.venue import venue_of
from crowetrade_agents.venues.adapters.simulated.adapter import SimulatedVenue
from crowetrade_agents.venues.adapters.simulated.queue import QueueModel
from crowetrade_agents.venues.adapters.simulated.spec import Fees, FeeTier, Funding, Rollover, ShortSelling
from crowetrade_api.files import EnvName

from ..clock import JumpingClock
from ..gateway.harness import venue_file, write_quotes

D = Decimal


def made(folder: Path, **simulated: Any) -> SimulatedVenue:
    write_quotes(folder, 3)
    found = venue_of(venue_file(**simulated), {EnvName.DATA_DIRECTORY: str(folder)}, JumpingClock(0))
    assert isinstance(found, SimulatedVenue)
    return found


def test_costs_and_rules_are_those_of_the_manifest(tmp_path: Path) -> None:
    spec = made(
        tmp_path,
        fees={
            "makerBps": "2",
            "takerBps": "5",
            "tiers": [{"fromNotional": "1000000", "makerBps": "-0.5", "takerBps": "4"}],
        },
        funding=[{"symbol": "EUR-USD", "rateBps": "1"}],
        rollover=[{"symbol": "EUR-USD", "longBps": "0.2", "shortBps": "-0.1", "timeZone": "Europe/London"}],
        shortSelling="Forbidden",
    ).simulation._spec
    assert spec.fees == Fees(D(2), D(5), (FeeTier(D(1_000_000), D("-0.5"), D(4)),))
    assert spec.funding == (Funding("EUR-USD", D(1), 8),)
    assert spec.rollovers == (Rollover("EUR-USD", D("0.2"), D("-0.1"), "17:00", "Europe/London"),)
    assert spec.short_selling is ShortSelling.FORBIDDEN
    assert spec.queue_model is QueueModel.NONE


def test_a_queue_model_without_recorded_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="queueModel PriceTime needs recorded depth"):
        made(tmp_path, queueModel="PriceTime")


def test_a_time_zone_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no time zone 'Mars/Olympus': write an IANA name such as"):
        made(tmp_path, rollover=[{"symbol": "EUR-USD", "longBps": "1", "shortBps": "1", "timeZone": "Mars/Olympus"}])
