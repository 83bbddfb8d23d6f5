"""Which adapter serves which type of VenueConnection.

The registry knows no adapter: the runtime, which alone may import them, registers their factories. Each adapter owns
its settings (`spec.py` beside it), so `make` hands them over as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.venues.port import VenuePort


def no_credentials() -> Mapping[str, str]:
    """For a venue without credentials."""
    return {}


@dataclass(frozen=True, slots=True)
class AdapterContext:
    """What every adapter gets. `credentials` reads the venue's keys by the names of spec.credentials (apiKey, secret,
    ...); it is called at each logon, so that a new version is used for it, and raises VenueUnavailable where they
    cannot be read."""

    venue: str
    instruments: tuple[Instrument, ...]
    clock: Clock
    credentials: Callable[[], Mapping[str, str]] = field(default=no_credentials)


Factory = Callable[[Any, AdapterContext], VenuePort]


class Registry:
    """Factories by the name of their type."""

    def __init__(self) -> None:
        self._factories: dict[str, Factory] = {}

    def register(self, type_name: str, factory: Factory) -> None:
        """Adds a type; raises ValueError when it is there already."""
        if type_name in self._factories:
            raise ValueError(f"venue type {type_name} is registered twice")
        self._factories[type_name] = factory

    def make(self, type_name: str, spec: object, context: AdapterContext) -> VenuePort:
        """The adapter of a type with its settings; raises ConfigurationError for a type that is not registered."""
        factory = self._factories.get(type_name)
        if factory is None:
            known = ", ".join(sorted(self._factories)) or "none"
            raise ConfigurationError(f"venue type {type_name!r} is not known here: write one of {known}")
        return factory(spec, context)
