"""What is remembered of each cluster while its API server answers, so that it is known when it does not: the gateways,
the KillSwitches and the bus. One file per person, in their state folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from crowetrade_cli.fleet.discovery import Fleet
from crowetrade_cli.fleet.gateways import Address, Gateway

FILE = "clusters.json"


@dataclass(frozen=True, slots=True)
class Known:
    """Of one cluster. `switches` are manifests of KillSwitches by namespace/name; `nats` is empty where the bus was
    never named."""

    gateways: Mapping[Address, Gateway] = field(default_factory=dict)
    switches: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    nats: str = ""

    def with_gateways(self, gateways: Iterable[Gateway], namespace: str | None) -> Known:
        """These are all of the namespace, or of all namespaces where none is named."""
        kept = {} if namespace is None else {key: one for key, one in self.gateways.items() if key[0] != namespace}
        return replace(self, gateways={**kept, **{one.address: one for one in gateways}})

    def with_switches(self, switches: Iterable[Mapping[str, Any]], namespace: str | None) -> Known:
        """These are all of the namespace, or of all namespaces where none is named."""
        kept = {
            key: one
            for key, one in self.switches.items()
            if namespace is not None and one["metadata"]["namespace"] != namespace
        }
        return replace(self, switches={**kept, **{_key(one): _bare(one) for one in switches}})

    def with_nats(self, url: str) -> Known:
        """The bus; an address that holds a password is not kept."""
        return self if not url or "@" in url else replace(self, nats=url)

    def switch(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The KillSwitch as it was last seen."""
        return self.switches.get(f"{namespace}/{name}")


class Memory:
    """The file. What cannot be read is as if nothing were remembered, and what cannot be written is not: neither may
    keep an order from going out."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def of_this_user(cls) -> Memory:
        """Below $XDG_STATE_HOME, or ~/.local/state."""
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        return cls(home / "crowetrade" / FILE)

    def of(self, cluster: str) -> Known:
        """What is remembered of the cluster at that address."""
        try:
            return _known(self._all()[cluster])
        except (KeyError, TypeError, AttributeError):
            return Known()

    def keep(self, cluster: str, known: Known) -> None:
        """From now on this is remembered of it."""
        everything = self._all() | {
            cluster: {
                "nats": known.nats,
                "gateways": [asdict(one) for one in known.gateways.values()],
                "switches": list(known.switches.values()),
            }
        }
        temporary = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_text(json.dumps(everything, indent=1))
            temporary.replace(self._file)
        except OSError:
            return

    def learn(self, cluster: str, fleet: Fleet, nats: str = "") -> Known:
        """What the API server tells takes the place of what was remembered; the address of the bus stays unless a new
        one is named."""
        known = self.of(cluster).with_gateways(fleet.gateways, fleet.namespace)
        known = known.with_switches(fleet.switches, fleet.namespace).with_nats(nats)
        self.keep(cluster, known)
        return known

    def _all(self) -> dict[str, Any]:
        try:
            content = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def _known(stored: Mapping[str, Any]) -> Known:
    gateways = [
        Gateway(
            Address(*one["address"]),
            tuple(one["targets"]),
            one["venue_labels"],
            one["namespace_labels"],
            one.get("guests") or {},
        )
        for one in stored["gateways"]
    ]
    return Known(
        {one.address: one for one in gateways}, {_key(one): one for one in stored["switches"]}, str(stored["nats"])
    )


def _key(switch: Mapping[str, Any]) -> str:
    return f"{switch['metadata']['namespace']}/{switch['metadata']['name']}"


def _bare(switch: Mapping[str, Any]) -> dict[str, Any]:
    """Whom it stops and how; not whether it is engaged."""
    metadata, spec = switch["metadata"], switch.get("spec") or {}
    return {
        "metadata": {"namespace": metadata["namespace"], "name": metadata["name"]},
        "spec": {name: spec[name] for name in ("scope", "mode") if name in spec},
    }
