"""venue.json: the VenueConnection as the operator hands it to its gateway."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.errors import ConfigurationError

DecimalText = Annotated[Decimal, BeforeValidator(lambda value: parse(str(value)))]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Mounted(_Model):
    """A file of a mounted volume: `path` in a claim, `key` in a ConfigMap."""

    path: str = ""
    key: str = ""


class Data(_Model):
    """Where the recording is and how bars and trades become quotes."""

    sample: str = ""
    persistent_volume_claim: Mounted | None = None
    config_map: Mounted | None = None
    spread_bps: DecimalText = Decimal(1)
    quote_quantity: DecimalText = Decimal(1_000_000)


class ReplaySettings(_Model):
    """Speed is a number (1 = as recorded) or "max" (lock step)."""

    speed: str = "1"
    loop: bool = False
    max_gap_seconds: DecimalText = Decimal(0)


class FeeSettings(_Model):
    """Basis points of notional."""

    maker_bps: DecimalText = Decimal(0)
    taker_bps: DecimalText = Decimal(0)


class Latency(_Model):
    """Milliseconds of venue time."""

    order_millis: int = Field(default=0, ge=0)


class Simulated(_Model):
    """spec.simulated."""

    data: Data
    replay: ReplaySettings = ReplaySettings()
    fees: FeeSettings = FeeSettings()
    latency: Latency = Latency()
    api_key_sha256: str = Field(default="", alias="apiKeySha256")


class RateLimits(_Model):
    """The venue's own limits."""

    orders_per_second: int = Field(default=10, ge=1)
    burst: int = Field(default=20, ge=1)
    cancels_per_second: int = Field(default=20, ge=1)


class CancelOnDisconnect(_Model):
    """After how long without a session a strategy's orders are cancelled."""

    after_seconds: int = Field(default=5, ge=0)


class InstrumentSettings(_Model):
    """One of spec.instruments."""

    symbol: str
    currency: str
    tick_size: DecimalText
    lot_size: DecimalText
    min_quantity: DecimalText = Decimal(0)


class VenueSpec(_Model):
    """spec of a VenueConnection, as far as its gateway needs it."""

    type: Literal["Simulated"]
    simulated: Simulated
    rate_limits: RateLimits = RateLimits()
    cancel_on_disconnect: CancelOnDisconnect = CancelOnDisconnect()
    instruments: list[InstrumentSettings] = Field(min_length=1, max_length=1)

    def instrument(self) -> Instrument:
        """The one instrument of the recording."""
        one = self.instruments[0]
        return Instrument(one.symbol, one.currency, one.tick_size, one.lot_size, one.min_quantity)


class VenueConfig(_Model):
    """The whole file."""

    namespace: str
    name: str
    generation: int = 0
    spec: VenueSpec


def load(path: Path) -> VenueConfig:
    """Reads the file; raises ConfigurationError with one sentence for each thing that is wrong."""
    try:
        return VenueConfig.model_validate(json.loads(path.read_text()))
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"the VenueConnection cannot run: {wrong}") from error
