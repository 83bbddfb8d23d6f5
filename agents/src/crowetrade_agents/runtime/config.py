"""What a process runs: the file that the operator wrote, the environment of the pod, and what the stages get of both.

What is wrong raises ConfigurationError with one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.orders import TimeInForce
from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.execution.policy import ExecutionPolicy, Style
from crowetrade_agents.models.sentence import validation_sentence
from crowetrade_agents.portfolio.policy import PortfolioPolicy
from crowetrade_api.files import CONFIG_DIRECTORY, EnvName, ListedInstrument, StrategyFile, VenueFile
from crowetrade_api.names import CONTROL_PORT, GRPC_PORT, HTTP_PORT, ROLES, Role
from crowetrade_api.v1alpha1.venueconnection import ShortSelling

_NS_PER_SECOND = 1_000_000_000

File = TypeVar("File", StrategyFile, VenueFile)


class Mode(StrEnum):
    """Strategy.spec.mode. In Shadow every decision is made and logged and no order is sent."""

    PAPER = "Paper"
    SHADOW = "Shadow"
    LIVE = "Live"


@dataclass(frozen=True, slots=True)
class Pod:
    """Where the process runs; from the environment."""

    name: str
    nats_url: str
    config_hash: str
    config_path: Path
    http_port: int
    grpc_port: int = GRPC_PORT
    control_port: int = CONTROL_PORT
    kill_directory: Path | None = None


def read_pod(environment: Mapping[str, str], file_name: str = "") -> Pod:
    """Reads the environment; `file_name` is the file in the configuration's directory, unless it names another. A
    process that has none leaves it out."""
    nats_url = environment.get(EnvName.NATS_URL, "")
    if not nats_url:
        raise ConfigurationError("the environment variable NATS_URL is not set: set it to nats://HOST:4222")
    kill_directory = environment.get(EnvName.KILL_DIRECTORY, "")
    return Pod(
        name=environment.get(EnvName.POD_NAME, "local"),
        nats_url=nats_url,
        config_hash=environment.get(EnvName.CONFIG_HASH, ""),
        config_path=Path(environment.get(EnvName.CONFIG_FILE, f"{CONFIG_DIRECTORY}/{file_name}")),
        http_port=read_port(environment, EnvName.HTTP_PORT, HTTP_PORT),
        grpc_port=read_port(environment, EnvName.GRPC_PORT, GRPC_PORT),
        control_port=read_port(environment, EnvName.CONTROL_PORT, CONTROL_PORT),
        kill_directory=Path(kill_directory) if kill_directory else None,
    )


def read_port(environment: Mapping[str, str], name: EnvName, default: int) -> int:
    """A port in the environment; 0 lets the system choose."""
    text = environment.get(name, str(default))
    if not text.isdigit() or int(text) > 65_535:
        raise ConfigurationError(f"the environment variable {name} is {text!r}: set it to a port, 0 to 65535")
    return int(text)


def load_file(path: Path, model: type[File]) -> File:
    """Reads and checks a file that the operator wrote."""
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}; is the ConfigMap mounted?") from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(validation_sentence(error)) from error


def load_strategy(path: Path) -> StrategyFile:
    """strategy.json."""
    file = load_file(path, StrategyFile)
    check_references(file)
    return file


def check_references(file: StrategyFile) -> None:
    """What one field says of another: every instrument has its details, gateway and the currency of the capital."""
    details = _details(file)
    currency = file.spec.capital.currency
    names = instrument_ids(file)
    if len(set(names)) < len(names):
        raise ConfigurationError("spec.instruments names an instrument twice; list each symbol of a venue once")
    for name in names:
        detail = details.get(name)
        if detail is None:
            raise ConfigurationError(
                f"VenueConnection {name.venue} has no instrument {name.symbol}: add it to its spec.instruments"
            )
        if detail.currency != currency:
            raise ConfigurationError(
                f"{name.symbol} is quoted in {detail.currency} and the capital is in {currency}: without a rate "
                f"between them the size would be wrong; set spec.capital.currency to {detail.currency}"
            )
        if name.venue not in file.gateways:
            raise ConfigurationError(f"no gateway address is known for VenueConnection {name.venue}")


def parse_roles(text: str) -> tuple[Role, ...]:
    """`feature,signal` and the like, in the order of the data."""
    wanted = {part.strip() for part in text.split(",") if part.strip()}
    unknown = wanted - set(ROLES)
    if unknown or not wanted:
        known = ", ".join(ROLES)
        raise ConfigurationError(f"--roles {text!r}: write one or more of {known}, separated by commas")
    return tuple(role for role in ROLES if role in wanted)


def shadow(file: StrategyFile) -> bool:
    """Whether the strategy decides and sends nothing."""
    return Mode(file.spec.mode) is Mode.SHADOW


def instrument_ids(file: StrategyFile) -> tuple[InstrumentId, ...]:
    """Instruments in the order of the manifest, which is the order the model gets them in."""
    return tuple(InstrumentId(ref.venue_ref.name, ref.symbol) for ref in file.spec.instruments)


def listings(file: StrategyFile) -> dict[InstrumentId, Instrument]:
    """Each instrument as its VenueConnection declares it, in the order of the manifest."""
    details = _details(file)
    return {name: _instrument(details[name]) for name in instrument_ids(file)}


def portfolio_policy(file: StrategyFile) -> PortfolioPolicy:
    """Settings of the portfolio stage."""
    policy, spike = file.spec.policy, file.spec.policy.stand_down.on_volatility_spike_sigma
    return PortfolioPolicy(
        capital=Decimal(file.spec.capital.amount),
        instruments=listings(file),
        min_prob_edge=float(policy.entry_gate.min_prob_edge),
        max_sigma=None if policy.entry_gate.max_sigma is None else float(policy.entry_gate.max_sigma),
        kelly_fraction=float(policy.sizing.fraction),
        max_leverage=Decimal(policy.sizing.max_leverage),
        data_gap_ns=_data_gap_ns(file),
        spike_sigma=None if spike is None else float(spike),
        quoting=quoting(file),
    )


def quoting(file: StrategyFile) -> bool:
    """Whether the strategy carries out quotes, and no forecasts."""
    return Style(file.spec.policy.execution.style) is Style.QUOTE


def execution_policy(file: StrategyFile) -> ExecutionPolicy:
    """Settings of the execution stage."""
    execution = file.spec.policy.execution
    cap = execution.participation_cap
    return ExecutionPolicy(
        style=Style(execution.style),
        time_in_force=TimeInForce(execution.time_in_force),
        limit_offset_bps=Decimal(execution.limit_offset_bps),
        participation_cap=None if cap is None else Decimal(cap),
        slice_to_limits=execution.slice_to_limits,
        requote_ticks=execution.requote_ticks,
        data_gap_ns=_data_gap_ns(file),
    )


def _data_gap_ns(file: StrategyFile) -> int | None:
    gap = file.spec.policy.stand_down.on_data_gap_seconds
    return None if gap is None else gap * _NS_PER_SECOND


def _details(file: StrategyFile) -> dict[InstrumentId, ListedInstrument]:
    return {InstrumentId(detail.venue, detail.symbol): detail for detail in file.instruments}


def _instrument(detail: ListedInstrument) -> Instrument:
    return Instrument(
        id=InstrumentId(detail.venue, detail.symbol),
        currency=detail.currency,
        multiplier=Decimal(detail.multiplier),
        tick_size=Decimal(detail.tick_size),
        lot_size=Decimal(detail.lot_size),
        min_quantity=Decimal(detail.min_quantity),
        long_only=detail.short_selling == ShortSelling.FORBIDDEN,
    )
