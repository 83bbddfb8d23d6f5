"""Finds a model: built in by name, or a user's class by entry point `package.module:Class`.

Every failure is a ValueError with one sentence for the author of the manifest.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

from pydantic import ValidationError

from crowetrade_agents.models.ema_crossover import EmaCrossover
from crowetrade_agents.models.mean_reversion import MeanReversion
from crowetrade_agents.models.sentence import validation_sentence
from crowetrade_agents.sdk import Model, ModelFactory

BUILT_IN: Mapping[str, ModelFactory] = {
    "ema-crossover": EmaCrossover,
    "mean-reversion": MeanReversion,
}


def find_model(name: str, entry_point: str) -> ModelFactory:
    """The factory for `model.name` or `model.entryPoint`; exactly one of them is not empty."""
    if bool(name) == bool(entry_point):
        raise ValueError("model: set exactly one of name and entryPoint")
    if entry_point:
        return _load(entry_point)
    try:
        return BUILT_IN[name]
    except KeyError:
        known = ", ".join(sorted(BUILT_IN))
        raise ValueError(f"model.name {name!r} is not built in; use one of {known}, or entryPoint") from None


def create_model(factory: ModelFactory, parameters: Mapping[str, object], instruments: tuple[str, ...]) -> Model:
    """Makes the model; what it says about a wrong parameter becomes one sentence."""
    try:
        return factory(parameters, instruments)
    except ValidationError as error:
        raise ValueError(validation_sentence(error, prefix="model.parameters")) from error
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the model refused its parameters: {error}") from error


def _load(entry_point: str) -> ModelFactory:
    module_name, _, class_name = entry_point.partition(":")
    if not module_name or not class_name:
        raise ValueError(f"model.entryPoint {entry_point!r} is not of the form package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ValueError(
            f"model.entryPoint {entry_point!r}: cannot import {module_name} ({error}); is it in agents.image?"
        ) from error
    factory = getattr(module, class_name, None)
    if not callable(factory):
        raise ValueError(f"model.entryPoint {entry_point!r}: {module_name} has no class {class_name}")
    return cast(ModelFactory, factory)
