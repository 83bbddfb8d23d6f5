"""A type of venue is served by the adapter that was registered for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.venues.adapters.simulated import adapter, spec
from crowetrade_agents.venues.registry import AdapterContext, Registry

from ..clock import JumpingClock
from .values import EUR_USD, START_NS, Quote, write_quotes


def test_a_registered_type_is_made_with_its_settings(tmp_path: Path) -> None:
    registry = Registry()
    registry.register(spec.TYPE, adapter.make)
    path = write_quotes(tmp_path / "q.csv", [Quote(0, "1.0998", "1.1000")])
    context = AdapterContext("sim", (EUR_USD,), JumpingClock(START_NS))
    made = registry.make("Simulated", spec.SimulatedSpec((spec.Recording(path),), speed=None), context)
    assert made.features.lock_step


def test_an_unknown_type_is_refused_with_those_that_are_known() -> None:
    registry = Registry()
    registry.register(spec.TYPE, adapter.make)
    with pytest.raises(ConfigurationError, match="'FIX' is not known here: write one of Simulated"):
        registry.make("FIX", None, AdapterContext("sim", (), JumpingClock(START_NS)))
    with pytest.raises(ValueError, match="twice"):
        registry.register(spec.TYPE, adapter.make)
