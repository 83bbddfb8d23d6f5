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

from crowetrade.bus.v1 import orders_pb2
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.execution.policy import ExecutionPolicy, Style
from crowetrade_agents.models.sentence import validation_sentence
from crowetrade_agents.portfolio.policy import Listing, PortfolioPolicy
from crowetrade_api.files import CONFIG_DIRECTORY, EnvName, ListedInstrument, StrategyFile, VenueFile
from crowetrade_api.names import GRPC_PORT, HTTP_PORT, ROLES, Role

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


def read_pod(environment: Mapping[str, str], file_name: str) -> Pod:
    """Reads the environment; `file_name` is the file in the configuration's directory, unless it names another."""
    nats_url = environment.get(EnvName.NATS_URL, "")
    if not nats_url:
        raise ConfigurationError("the environment variable NATS_URL is not set: set it to nats://HOST:4222")
    return Pod(
        name=environment.get(EnvName.POD_NAME, "local"),
        nats_url=nats_url,
        config_hash=environment.get(EnvName.CONFIG_HASH, ""),
        config_path=Path(environment.get(EnvName.CONFIG_FILE, f"{CONFIG_DIRECTORY}/{file_name}")),
        http_port=_port(environment, EnvName.HTTP_PORT, HTTP_PORT),
        grpc_port=_port(environment, EnvName.GRPC_PORT, GRPC_PORT),
    )


def _port(environment: Mapping[str, str], name: EnvName, default: int) -> int:
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
    if len(set(file.symbols)) < len(file.symbols):
        raise ConfigurationError("spec.instruments names a symbol twice; each symbol may be held on one venue only")
    for ref in file.spec.instruments:
        venue = ref.venue_ref.name
        detail = details.get((ref.symbol, venue))
        if detail is None:
            raise ConfigurationError(
                f"VenueConnection {venue} has no instrument {ref.symbol}: add it to its spec.instruments"
            )
        if detail.currency != currency:
            raise ConfigurationError(
                f"{ref.symbol} is quoted in {detail.currency} and the capital is in {currency}: without a rate "
                f"between them the size would be wrong; set spec.capital.currency to {detail.currency}"
            )
        if venue not in file.gateways:
            raise ConfigurationError(f"no gateway address is known for VenueConnection {venue}")


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


def listings(file: StrategyFile) -> dict[str, Listing]:
    """Each symbol with its venue and instrument."""
    details = _details(file)
    return {
        ref.symbol: Listing(venue=ref.venue_ref.name, instrument=_instrument(details[ref.symbol, ref.venue_ref.name]))
        for ref in file.spec.instruments
    }


def portfolio_policy(file: StrategyFile) -> PortfolioPolicy:
    """What the portfolio stage is told."""
    policy = file.spec.policy
    gap, spike = policy.stand_down.on_data_gap_seconds, policy.stand_down.on_volatility_spike_sigma
    return PortfolioPolicy(
        capital=Decimal(file.spec.capital.amount),
        instruments=listings(file),
        min_prob_edge=float(policy.entry_gate.min_prob_edge),
        max_sigma=None if policy.entry_gate.max_sigma is None else float(policy.entry_gate.max_sigma),
        kelly_fraction=float(policy.sizing.fraction),
        max_leverage=Decimal(policy.sizing.max_leverage),
        data_gap_ns=None if gap is None else gap * _NS_PER_SECOND,
        spike_sigma=None if spike is None else float(spike),
    )


def execution_policy(file: StrategyFile) -> ExecutionPolicy:
    """What the execution stage is told."""
    execution = file.spec.policy.execution
    cap = execution.participation_cap
    return ExecutionPolicy(
        style=Style(execution.style),
        time_in_force=orders_pb2.TimeInForce.Value(f"TIME_IN_FORCE_{execution.time_in_force}"),
        limit_offset_bps=Decimal(execution.limit_offset_bps),
        participation_cap=None if cap is None else Decimal(cap),
    )


def _details(file: StrategyFile) -> dict[tuple[str, str], ListedInstrument]:
    return {(detail.symbol, detail.venue): detail for detail in file.instruments}


def _instrument(detail: ListedInstrument) -> Instrument:
    return Instrument(
        symbol=detail.symbol,
        currency=detail.currency,
        tick_size=Decimal(detail.tick_size),
        lot_size=Decimal(detail.lot_size),
        min_quantity=Decimal(detail.min_quantity),
    )
