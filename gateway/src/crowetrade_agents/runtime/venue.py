"""A venue's adapter out of venue.json and the environment; the only place that knows every adapter."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.runtime.keys import KeyKeeper, key_keeper
from crowetrade_agents.venues.adapters.simulated import adapter as simulated
from crowetrade_agents.venues.adapters.simulated import client as simulated_client
from crowetrade_agents.venues.adapters.simulated import spec as simulated_spec
from crowetrade_agents.venues.adapters.simulated.queue import QueueModel
from crowetrade_agents.venues.adapters.simulated.spec import (
    Fees,
    FeeTier,
    Funding,
    QuoteMaking,
    Recording,
    Rollover,
    ShortSelling,
    SimulatedSpec,
)
from crowetrade_agents.venues.port import VenuePort
from crowetrade_agents.venues.registry import AdapterContext, Registry, no_credentials
from crowetrade_api.files import (
    DATA_DIRECTORY,
    SAMPLE_DIRECTORY,
    EnvName,
    RecordingFile,
    VenueFile,
)
from crowetrade_api.v1alpha1 import venueconnection

_SECOND_NS = 1_000_000_000
# Its hourly bars are of offers; every other recording is taken as mid or trade prices.
_ASK_SAMPLES = frozenset({"eurusd-1h"})


def instruments_of(file: VenueFile) -> dict[InstrumentId, Instrument]:
    """What the venue lists."""
    listed = (
        Instrument(
            id=InstrumentId(file.name, item.symbol),
            currency=item.currency,
            multiplier=parse(item.multiplier),
            tick_size=parse(item.tick_size),
            lot_size=parse(item.lot_size),
            min_quantity=parse(item.min_quantity),
            base_currency=item.base_currency or "",
        )
        for item in file.spec.instruments
    )
    return {instrument.id: instrument for instrument in listed}


def venue_of(
    file: VenueFile, environment: Mapping[str, str], clock: Clock, keeper: KeyKeeper | None = None
) -> VenuePort:
    """The adapter of the venue's type; raises ConfigurationError, DataError when a recording cannot be read. Without a
    keeper the keys are read at each logon, and nobody looks for new ones."""
    keeper = keeper or key_keeper(file, environment, clock)
    context = AdapterContext(
        venue=file.name,
        instruments=tuple(instruments_of(file).values()),
        clock=clock,
        credentials=keeper.read if keeper is not None else no_credentials,
    )
    registry = Registry()
    registry.register(simulated_spec.TYPE, simulated.make)
    registry.register(simulated_client.TYPE, simulated_client.make)
    server = environment.get(EnvName.SIMULATED_SERVER, "")
    if server:
        # The same venue in a process of its own, so that it outlives this gateway.
        return registry.make(simulated_client.TYPE, _server_spec(file, server), context)
    return registry.make(file.spec.type, simulated_spec_of(file, environment), context)


def _server_spec(file: VenueFile, address: str) -> simulated_client.ServerSpec:
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        raise ConfigurationError(f"the environment variable {EnvName.SIMULATED_SERVER} is {address!r}: write HOST:PORT")
    return simulated_client.ServerSpec(int(port), host, _speed(file.simulated.replay))


def simulated_spec_of(file: VenueFile, environment: Mapping[str, str]) -> SimulatedSpec:
    """The settings of a simulated venue; `environment` says where recordings are."""
    settings = file.simulated
    replay = settings.replay
    gap = replay.max_gap_seconds
    return SimulatedSpec(
        recordings=tuple(_recording(item, environment) for item in file.recordings),
        speed=_speed(replay),
        loop=replay.loop,
        max_gap_ns=0 if gap is None else int(parse(gap) * _SECOND_NS),
        fees=_fees(settings.fees),
        order_latency_millis=settings.latency.order_millis,
        market_data_latency_millis=settings.latency.market_data_millis,
        api_key_sha256=settings.api_key_sha256 or "",
        previous_api_key_sha256=settings.previous_api_key_sha256 or "",
        calendar=file.spec.calendar,
        queue_model=QueueModel(settings.queue_model),
        short_selling=ShortSelling(settings.short_selling),
        funding=tuple(Funding(item.symbol, parse(item.rate_bps), item.every_hours) for item in settings.funding),
        rollovers=tuple(_rollover(item) for item in settings.rollover),
    )


def _speed(replay: venueconnection.Replay) -> Decimal | None:
    return None if replay.speed == "max" else parse(replay.speed)


def _fees(fees: venueconnection.Fees) -> Fees:
    tiers = [FeeTier(*map(parse, (tier.from_notional, tier.maker_bps, tier.taker_bps))) for tier in fees.tiers]
    return Fees(parse(fees.maker_bps), parse(fees.taker_bps), tuple(tiers))


def _rollover(item: venueconnection.Rollover) -> Rollover:
    try:
        ZoneInfo(item.time_zone)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ConfigurationError(
            f"spec.simulated.rollover of {item.symbol}: there is no time zone {item.time_zone!r}: write an IANA name "
            "such as America/New_York (or install tzdata, where this machine knows none)"
        ) from error
    return Rollover(item.symbol, parse(item.long_bps), parse(item.short_bps), item.at, item.time_zone)


def _recording(item: RecordingFile, environment: Mapping[str, str]) -> Recording:
    if item.origin == "Sample":
        folder = volume = Path(environment.get(EnvName.SAMPLE_DIRECTORY, SAMPLE_DIRECTORY))
    else:
        folder = Path(environment.get(EnvName.DATA_DIRECTORY, DATA_DIRECTORY))
        volume = folder / Path(item.path).parts[0]
    making = QuoteMaking(
        spread_bps=Decimal(item.spread_bps),
        quantity=Decimal(item.quote_quantity),
        price_is_ask=item.sample in _ASK_SAMPLES,
    )
    return Recording(folder / item.path, item.symbol, making, volume)
