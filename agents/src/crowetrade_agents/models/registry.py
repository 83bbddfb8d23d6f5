"""Finds a model: built in by name, or a user's class by entry point `package.module:Class`.

Every failure is a ValueError with one sentence for the author of the manifest. A built-in model is imported when it is
asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

from crowetrade_agents.sdk import InstrumentId, Model, ModelFactory

BUILT_IN: Mapping[str, str] = {
    "ema-crossover": "crowetrade_agents.models.ema_crossover:EmaCrossover",
    "market-maker": "crowetrade_agents.models.market_maker:MarketMaker",
    "mean-reversion": "crowetrade_agents.models.mean_reversion:MeanReversion",
    "pair-reversion": "crowetrade_agents.models.pairs:PairReversion",
}


def find_model(name: str, entry_point: str) -> ModelFactory:
    """The factory for `model.name` or `model.entryPoint`; exactly one of them is not empty."""
    if bool(name) == bool(entry_point):
        raise ValueError("model: set exactly one of name and entryPoint")
    if entry_point:
        return _load(entry_point)
    if name not in BUILT_IN:
        known = ", ".join(sorted(BUILT_IN))
        raise ValueError(f"model.name {name!r} is not built in; use one of {known}, or entryPoint")
    return _load(BUILT_IN[name])


def create_model(
    factory: ModelFactory, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]
) -> Model:
    """Makes the model; what it raises about a wrong parameter becomes one sentence."""
    try:
        return factory(parameters, instruments)
    except Exception as error:
        raise ValueError(f"the model refused its parameters: {_refusal(error)}") from error


def _refusal(error: Exception) -> str:
    """What a model says about its parameters; the type too where it is no ValueError."""
    if type(error).__module__.startswith("pydantic"):
        # Only a model that uses pydantic itself has loaded it.
        from crowetrade_agents.models.sentence import validation_sentence

        return validation_sentence(error, prefix="model.parameters")  # type: ignore[arg-type]
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _load(entry_point: str) -> ModelFactory:
    module_name, _, class_name = entry_point.partition(":")
    if not module_name or not class_name:
        raise ValueError(f"model.entryPoint {entry_point!r} is not of the form package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ValueError(
            f"model.entryPoint {entry_point!r}: cannot import {module_name} ({type(error).__name__}: {error}); "
            "install it where the agents run: in agents.image, or here for crowetrade run"
        ) from error
    factory = getattr(module, class_name, None)
    if not callable(factory):
        raise ValueError(f"model.entryPoint {entry_point!r}: {module_name} has no class {class_name}")
    return cast(ModelFactory, factory)
