"""What a strategy process runs: strategy.json, written by the operator, and the environment of the pod.

Fields are those of the Strategy's spec, in the manifest's spelling, with defaults filled in. What is not known here is
ignored, so an older image runs under a newer operator. What is wrong raises ConfigurationError with one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.orders import TimeInForce
from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.execution.policy import ExecutionPolicy, Style
from crowetrade_agents.models.sentence import validation_sentence
from crowetrade_agents.portfolio.policy import PortfolioPolicy

DEFAULT_PATH = "/etc/crowetrade/strategy.json"
TERMINATION_LOG = "/dev/termination-log"
EXIT_CONFIGURATION = 78
DEFAULT_HTTP_PORT = 8080
_NS_PER_SECOND = 1_000_000_000

Positive = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[Decimal, Field(gt=0, le=1, allow_inf_nan=False)]


class Role(StrEnum):
    """The roles of a strategy, in the order of the data."""

    FEATURE = "feature"
    SIGNAL = "signal"
    PORTFOLIO = "portfolio"
    EXECUTION = "execution"


ALL_ROLES = tuple(Role)


class Mode(StrEnum):
    """Strategy.spec.mode. In Shadow every decision is made and logged and no order is sent."""

    PAPER = "Paper"
    SHADOW = "Shadow"
    LIVE = "Live"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Capital(_Part):
    """Money that leverage 1 stands for."""

    amount: Positive
    currency: str


class VenueRef(_Part):
    """Name of a VenueConnection in the namespace."""

    name: str


class InstrumentRef(_Part):
    """One instrument of the strategy."""

    symbol: str
    venue_ref: VenueRef


class ModelSpec(_Part):
    """A built-in model by name, or a user's by entry point."""

    name: str = ""
    entry_point: str = ""
    parameters: Mapping[str, object] = Field(default_factory=dict)


class EntryGate(_Part):
    """When a signal is good enough."""

    min_prob_edge: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.5")
    max_sigma: Positive | None = None


class Sizing(_Part):
    """Tempered Kelly."""

    method: Literal["TemperedKelly"] = "TemperedKelly"
    fraction: Fraction = Decimal("0.3")
    max_leverage: Positive = Decimal(1)


class Execution(_Part):
    """How targets become orders."""

    style: Style = Style.LIMIT
    limit_offset_bps: Annotated[Decimal, Field(ge=0, lt=10_000)] = Decimal(0)
    participation_cap: Fraction | None = None
    time_in_force: Literal["DAY", "GTC", "IOC", "FOK"] = "IOC"
    slice_to_limits: bool = False


class StandDown(_Part):
    """When the market data says that it is no time to trade."""

    on_data_gap_seconds: Positive | None = None
    on_volatility_spike_sigma: Positive | None = None


class Policy(_Part):
    """Strategy.spec.policy."""

    entry_gate: EntryGate = EntryGate()
    sizing: Sizing = Sizing()
    execution: Execution = Execution()
    stand_down: StandDown = StandDown()


class StrategySpec(_Part):
    """Strategy.spec, as far as the agents need it."""

    mode: Mode = Mode.PAPER
    capital: Capital
    instruments: Annotated[tuple[InstrumentRef, ...], Field(min_length=1)]
    model: ModelSpec
    policy: Policy = Policy()


class InstrumentDetail(_Part):
    """What the VenueConnection says of an instrument."""

    symbol: str
    venue: str
    currency: str
    multiplier: Positive = Decimal(1)
    tick_size: Positive
    lot_size: Positive
    min_quantity: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)] = Decimal(0)


class StrategyConfig(_Part):
    """The whole file."""

    namespace: str
    name: str
    generation: int = 0
    spec: StrategySpec
    gateways: Mapping[str, str]
    instruments: tuple[InstrumentDetail, ...]

    @property
    def instrument_ids(self) -> tuple[InstrumentId, ...]:
        """Instruments in the order of the manifest, which is the order the model gets them in."""
        return tuple(InstrumentId(ref.venue_ref.name, ref.symbol) for ref in self.spec.instruments)

    @property
    def venues(self) -> tuple[str, ...]:
        """Venues in the order in which the manifest names them first."""
        return tuple(dict.fromkeys(instrument.venue_ref.name for instrument in self.spec.instruments))

    def listings(self) -> dict[InstrumentId, Instrument]:
        """Each instrument as its VenueConnection declares it, in the order of the manifest."""
        details = {InstrumentId(detail.venue, detail.symbol): detail for detail in self.instruments}
        return {name: _instrument(details[name]) for name in self.instrument_ids}

    def portfolio_policy(self) -> PortfolioPolicy:
        """What the portfolio stage is told."""
        policy, spike = self.spec.policy, self.spec.policy.stand_down.on_volatility_spike_sigma
        return PortfolioPolicy(
            capital=self.spec.capital.amount,
            instruments=self.listings(),
            min_prob_edge=float(policy.entry_gate.min_prob_edge),
            max_sigma=None if policy.entry_gate.max_sigma is None else float(policy.entry_gate.max_sigma),
            kelly_fraction=float(policy.sizing.fraction),
            max_leverage=policy.sizing.max_leverage,
            data_gap_ns=self._data_gap_ns(),
            spike_sigma=None if spike is None else float(spike),
        )

    def execution_policy(self) -> ExecutionPolicy:
        """What the execution stage is told."""
        execution = self.spec.policy.execution
        return ExecutionPolicy(
            style=execution.style,
            time_in_force=TimeInForce(execution.time_in_force),
            limit_offset_bps=execution.limit_offset_bps,
            participation_cap=execution.participation_cap,
            slice_to_limits=execution.slice_to_limits,
            data_gap_ns=self._data_gap_ns(),
        )

    def _data_gap_ns(self) -> int | None:
        gap = self.spec.policy.stand_down.on_data_gap_seconds
        return None if gap is None else int(gap * _NS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class Pod:
    """Where the process runs; from the environment."""

    name: str
    nats_url: str
    config_hash: str
    config_path: Path
    http_port: int


def read_pod(environment: Mapping[str, str]) -> Pod:
    """Reads POD_NAME, NATS_URL, CONFIG_HASH, CROWETRADE_CONFIG and HTTP_PORT."""
    nats_url = environment.get("NATS_URL", "")
    if not nats_url:
        raise ConfigurationError("the environment variable NATS_URL is not set: set it to nats://HOST:4222")
    port = environment.get("HTTP_PORT", str(DEFAULT_HTTP_PORT))
    if not port.isdigit() or int(port) > 65_535:
        raise ConfigurationError(f"the environment variable HTTP_PORT is {port!r}: set it to a port, 0 to 65535")
    return Pod(
        name=environment.get("POD_NAME", "local"),
        nats_url=nats_url,
        config_hash=environment.get("CONFIG_HASH", ""),
        config_path=Path(environment.get("CROWETRADE_CONFIG", DEFAULT_PATH)),
        http_port=int(port),
    )


def load_strategy(path: Path) -> StrategyConfig:
    """Reads and checks the file."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; is the ConfigMap mounted?") from error
    try:
        config = StrategyConfig.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(validation_sentence(error)) from error
    check_references(config)
    return config


def check_references(config: StrategyConfig) -> None:
    """What one field says of another: every instrument has its details, gateway and the currency of the capital."""
    details = {InstrumentId(detail.venue, detail.symbol): detail for detail in config.instruments}
    currency = config.spec.capital.currency
    if len(set(config.instrument_ids)) < len(config.instrument_ids):
        raise ConfigurationError("spec.instruments names an instrument twice; list each symbol of a venue once")
    for name in config.instrument_ids:
        venue = name.venue
        detail = details.get(name)
        if detail is None:
            raise ConfigurationError(
                f"VenueConnection {venue} has no instrument {name.symbol}: add it to its spec.instruments"
            )
        if detail.currency != currency:
            raise ConfigurationError(
                f"{name.symbol} is quoted in {detail.currency} and the capital is in {currency}: without a rate "
                f"between them the size would be wrong; set spec.capital.currency to {detail.currency}"
            )
        if venue not in config.gateways:
            raise ConfigurationError(f"no gateway address is known for VenueConnection {venue}")


def parse_roles(text: str) -> tuple[Role, ...]:
    """`feature,signal` and the like, in the order of the data."""
    wanted = {part.strip() for part in text.split(",") if part.strip()}
    unknown = wanted - set(ALL_ROLES)
    if unknown or not wanted:
        known = ", ".join(ALL_ROLES)
        raise ConfigurationError(f"--roles {text!r}: write one or more of {known}, separated by commas")
    return tuple(role for role in ALL_ROLES if role in wanted)


def _instrument(detail: InstrumentDetail) -> Instrument:
    return Instrument(
        id=InstrumentId(detail.venue, detail.symbol),
        currency=detail.currency,
        multiplier=detail.multiplier,
        tick_size=detail.tick_size,
        lot_size=detail.lot_size,
        min_quantity=detail.min_quantity,
    )
