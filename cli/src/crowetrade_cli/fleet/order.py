"""The KillSwitch that a command asks for, and its order to the gateways. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.hardness import at_least
from crowetrade_api.kill_order import kill_order
from crowetrade_api.names import API_VERSION, Kind
from crowetrade_api.v1alpha1.killswitch import KillSwitch, UnreadableKillSwitch
from crowetrade_api.v1alpha1.meta import read
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.manifests.admission import Admitted, judge

NAME_LENGTH = 40
"""Of names of our kinds."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says. Scope and mode are None where it leaves them to the KillSwitch of that name."""

    namespace: str
    name: str
    reason: str
    mode: str | None = None
    scope: Mapping[str, Any] | None = field(default=None)

    def under(self, name: str) -> Asked:
        """The same under another name."""
        return replace(self, name=name)

    def manifest(self, known: Mapping[str, Any] | None, user: str) -> dict[str, Any]:
        """The whole KillSwitch, engaged; what is not asked for is as in `known`, the one of that name as it was last
        seen, or as the schema's defaults are: everything in the namespace, with Cancel."""
        spec = {
            **((known or {}).get("spec") or {}),
            **({"mode": self.mode} if self.mode is not None else {}),
            **({"scope": self.scope} if self.scope is not None else {}),
            "engaged": True,
            "reason": self.reason,
            **({"engagedBy": user} if user else {}),
        }
        metadata = {"namespace": self.namespace, "name": self.name}
        return {"apiVersion": API_VERSION, "kind": Kind.KILL_SWITCH.value, "metadata": metadata, "spec": spec}

    def changes(self, user: str) -> dict[str, Any]:
        """Of a KillSwitch that is there, by JSON pointer."""
        return {
            "/spec/engaged": True,
            "/spec/reason": self.reason,
            **({"/spec/engagedBy": user} if user else {}),
            **({"/spec/mode": self.mode} if self.mode is not None else {}),
            **({"/spec/scope": self.scope} if self.scope is not None else {}),
        }

    def harder(self, mode: str) -> dict[str, Any]:
        """Of one that is engaged with this mode already, by JSON pointer: it may get harder; who engaged it and why
        stays, and so does whom it stops, or the API server refuses. Raises Failed for a mode that is neither harder nor
        milder: one of the two would go."""
        if self.mode is not None and not at_least(mode, self.mode) and not at_least(self.mode, mode):
            text = f"KillSwitch {self.namespace}/{self.name} is engaged with mode {mode}"
            raise Failed(f"{text}, which {self.mode} does not replace: another one is engaged beside it")
        return {
            **({"/spec/mode": self.mode} if self.mode is not None and not at_least(mode, self.mode) else {}),
            **({"/spec/scope": self.scope} if self.scope is not None else {}),
        }


def scope_of(strategies: Sequence[str], venues: Sequence[str], everywhere: bool) -> dict[str, Any]:
    """spec.scope of these selectors, each KEY=VALUE. Raises WrongUse."""
    scope: dict[str, Any] = {}
    if strategies:
        scope["strategySelector"] = {"matchLabels": _labels("--selector", strategies)}
    if venues:
        scope["venueSelector"] = {"matchLabels": _labels("--venue-selector", venues)}
    if everywhere:
        scope["namespaces"] = {"from": "All"}
    return scope


def check(asked: Asked) -> None:
    """Raises WrongUse with the API server's sentence about a KillSwitch that it would refuse."""
    verdict = judge(asked.manifest(None, ""), asked.namespace)
    if not isinstance(verdict, Admitted):
        raise WrongUse(verdict.message)


def order_of(switch: Mapping[str, Any], now_ns: int) -> kill_pb2.KillOrder:
    """The order of a KillSwitch that is engaged, stored or not."""
    metadata = {"generation": 0, **switch["metadata"]}
    order = kill_order(read({**switch, "metadata": metadata}, KillSwitch, UnreadableKillSwitch))
    assert order is not None, "it is engaged"
    order.issued_unix_ns = now_ns
    return order


def unique_name(name: str, now_ns: int, random: str) -> str:
    """A name that no KillSwitch has had: one that is there and not engaged would re-arm an order of its name."""
    ending = f"-{datetime.fromtimestamp(now_ns / 1e9, UTC):%m%d-%H%M%S}-{random}"
    return name[: NAME_LENGTH - len(ending)].rstrip("-") + ending


def _labels(option: str, given: Sequence[str]) -> dict[str, str]:
    labels = {}
    for text in (part.strip() for entry in given for part in entry.split(",")):
        key, equals, value = text.partition("=")
        if not key or not equals or key.endswith("!"):
            raise WrongUse(f'{option} "{text}" is no KEY=VALUE, such as desk=fx')
        labels[key] = value.removeprefix("=")
    return labels
