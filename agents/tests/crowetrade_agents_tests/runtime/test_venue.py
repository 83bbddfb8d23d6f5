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
from crowetrade_api.files import EnvName, VenueFile

from ..clock import JumpingClock
from ..gateway.harness import venue_file, write_quotes
from ..risk.limits.test_trading_hours import ns

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


@pytest.mark.parametrize(
    ("speed", "lock_step", "replay_speed"), [("max", True, D(1)), ("1", False, D(1)), ("2.5", False, D("2.5"))]
)
@pytest.mark.parametrize("elsewhere", [{}, {EnvName.SIMULATED_SERVER: "127.0.0.1:1"}], ids=["here", "a server"])
def test_the_speed_of_the_replay_is_that_of_the_manifest(
    tmp_path: Path, elsewhere: dict[str, str], speed: str, lock_step: bool, replay_speed: Decimal
) -> None:
    write_quotes(tmp_path, 3)
    environment = {EnvName.DATA_DIRECTORY: str(tmp_path), **elsewhere}
    features = venue_of(venue_file(replay={"speed": speed}), environment, JumpingClock(0)).features
    assert (features.lock_step, features.replay_speed) == (lock_step, replay_speed)


def test_a_queue_model_without_recorded_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="queueModel PriceTime needs recorded depth"):
        made(tmp_path, queueModel="PriceTime")


def test_a_time_zone_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no time zone 'Mars/Olympus': write an IANA name such as"):
        made(tmp_path, rollover=[{"symbol": "EUR-USD", "longBps": "1", "shortBps": "1", "timeZone": "Mars/Olympus"}])


def on_calendar(folder: Path, name: str) -> SimulatedVenue:
    write_quotes(folder, 3)
    content = venue_file().content()
    content["spec"]["calendar"] = name
    found = venue_of(VenueFile.model_validate(content), {EnvName.DATA_DIRECTORY: str(folder)}, JumpingClock(0))
    assert isinstance(found, SimulatedVenue)
    return found


def test_the_days_of_a_venue_are_those_of_its_calendar(tmp_path: Path) -> None:
    calendar = on_calendar(tmp_path, "XNYS").simulation.exchange._calendar
    assert calendar.session_end_ns(ns("2026-11-27T15:00:00")) == ns("2026-11-27T18:00:00")


def test_a_calendar_that_there_is_not_is_refused(tmp_path: Path) -> None:
    said = "spec.calendar: calendar 'XXXX' is neither '24x7' nor one of exchange_calendars, such as XNYS"
    with pytest.raises(ConfigurationError, match=said):
        on_calendar(tmp_path, "XXXX")


@pytest.mark.parametrize("name", ["rec.csv", "rec.parquet"])
def test_a_link_on_a_volume_does_not_show_a_key(tmp_path: Path, name: str) -> None:
    """Finding S7: the first line of a file that a link led to stood in the venue's status."""
    (tmp_path / "credentials").write_text("canary-7f3a\nsecond line\n")
    (tmp_path / "data" / "0").mkdir(parents=True)
    (tmp_path / "data" / "0" / name).symlink_to(tmp_path / "credentials")
    file = venue_file()
    recording = file.recordings[0].model_copy(update={"path": f"0/{name}"})
    with pytest.raises(DataError, match="leads out of its volume, or is no file: put the file itself there") as raised:
        venue_of(
            file.model_copy(update={"recordings": [recording]}),
            {EnvName.DATA_DIRECTORY: str(tmp_path / "data")},
            JumpingClock(0),
        )
    assert "canary" not in str(raised.value)


def test_a_link_inside_of_a_volume_is_followed(tmp_path: Path) -> None:
    write_quotes(tmp_path, 3)
    (tmp_path / "0" / "..data").mkdir()
    (tmp_path / "0" / "rec.csv").rename(tmp_path / "0" / "..data" / "rec.csv")
    (tmp_path / "0" / "rec.csv").symlink_to("..data/rec.csv")
    assert venue_of(venue_file(), {EnvName.DATA_DIRECTORY: str(tmp_path)}, JumpingClock(0)).features
