"""The KillSwitch that a command asks for, and its order to the gateways. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.hardness import at_least
from crowetrade_api.kill_order import kill_order, manifest
from crowetrade_api.names import API_VERSION, Kind
from crowetrade_api.v1alpha1.common import LabelSelector
from crowetrade_api.v1alpha1.killswitch import KillScope, KillSwitch, UnreadableKillSwitch
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

    def beside(self, name: str, known: Mapping[str, Any] | None) -> Asked:
        """The same under another name. `known` is the KillSwitch of the name that was asked for, as far as it is known:
        its mode stands where none is asked for, and its scope where it holds the one that is asked for."""
        spec = (known or {}).get("spec") or {}
        mode = self.mode if self.mode is not None else spec.get("mode")
        keeps = "scope" in spec and (self.scope is None or covers(spec["scope"], self.scope))
        return replace(self, name=name, mode=mode, scope=spec["scope"] if keeps else self.scope)

    def manifest(self, user: str) -> dict[str, Any]:
        """The whole KillSwitch, engaged; what is not asked for is as the schema's defaults are: everything in the
        namespace, with Cancel."""
        spec = {
            **({"mode": self.mode} if self.mode is not None else {}),
            **({"scope": self.scope} if self.scope is not None else {}),
            "engaged": True,
            "reason": self.reason,
            **({"engagedBy": user} if user else {}),
        }
        metadata = {"namespace": self.namespace, "name": self.name}
        return {"apiVersion": API_VERSION, "kind": Kind.KILL_SWITCH.value, "metadata": metadata, "spec": spec}

    def changes(self, stored: Mapping[str, Any], user: str) -> dict[str, Any]:
        """Of the KillSwitch that is there, with this spec, and is not engaged, by JSON pointer. Its scope is kept or
        widened: nobody for whom it was prepared falls out. Raises Failed where neither scope holds the other."""
        widens = not self._is_stopped_by(stored)
        if widens and not covers(self.scope or {}, stored.get("scope") or {}):
            text = (
                f"KillSwitch {self.namespace}/{self.name} is prepared for {whom(stored.get('scope'), self.namespace)}"
            )
            raise Failed(f"{text}, and stays as it is: another one is engaged for {whom(self.scope, self.namespace)}")
        return {
            "/spec/engaged": True,
            "/spec/reason": self.reason,
            **({"/spec/engagedBy": user} if user else {}),
            **({"/spec/mode": self.mode} if self.mode is not None else {}),
            **({"/spec/scope": self.scope} if widens else {}),
        }

    def harder(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Of the one that is engaged with this spec already, by JSON pointer: it may get harder; who engaged it and why
        stays, and so does whom it stops, as the API server has it too. Raises Failed where it does not stop all who are
        asked for, and for a mode that is neither harder nor milder: one of the two would go."""
        text, mode = f"KillSwitch {self.namespace}/{self.name} is engaged", str(stored.get("mode"))
        if not self._is_stopped_by(stored):
            text = f"{text} for {whom(stored.get('scope'), self.namespace)}"
            raise Failed(f"{text}: another one is engaged beside it for {whom(self.scope, self.namespace)}")
        if self.mode is not None and not at_least(mode, self.mode) and not at_least(self.mode, mode):
            raise Failed(
                f"{text} with mode {mode}, which {self.mode} does not replace: another one is engaged beside it"
            )
        return {"/spec/mode": self.mode} if self.mode is not None and not at_least(mode, self.mode) else {}

    def _is_stopped_by(self, stored: Mapping[str, Any]) -> bool:
        return self.scope is None or covers(stored.get("scope") or {}, self.scope)


def covers(wide: Mapping[str, Any], narrow: Mapping[str, Any]) -> bool:
    """Whether the one spec.scope stops everybody whom the other one stops, both of one namespace. Labels of namespaces
    are not known here: a selector of namespaces may leave out their own one."""
    one, other = _scope(wide), _scope(narrow)
    if one is None or other is None:
        return one is None  # what cannot be read counts as everybody
    match one.namespaces.from_, other.namespaces.from_:
        case ("All", _) | ("Same", "Same"):
            found = True
        case ("Selector", "Selector"):
            found = _selects_more(one.namespaces.selector, other.namespaces.selector)
        case _:
            found = False
    return (
        found
        and _selects_more(one.strategy_selector, other.strategy_selector)
        and _selects_more(one.venue_selector, other.venue_selector)
    )


def _selects_more(one: LabelSelector, other: LabelSelector) -> bool:
    """As far as it can be seen: the one requires nothing that the other does not."""
    labels = one.match_labels.items() <= other.match_labels.items()
    return labels and all(item in other.match_expressions for item in one.match_expressions)


def _scope(scope: Mapping[str, Any]) -> KillScope | None:
    try:
        return KillScope.model_validate(scope)
    except ValidationError:
        return None


def whom(scope: Mapping[str, Any] | None, namespace: str) -> str:
    """In words, whom a KillSwitch of the namespace with this spec.scope stops."""
    read_scope = _scope(scope or {})
    if read_scope is None:
        return "everything in every namespace"
    strategies, venues = _worded(read_scope.strategy_selector), _worded(read_scope.venue_selector)
    who = f"strategies with {strategies}" if strategies else "everything"
    at = f" at venues with {venues}" if venues else ""
    match read_scope.namespaces.from_:
        case "All":
            return f"{who}{at} in every namespace"
        case "Selector":
            where = f"namespaces with {_worded(read_scope.namespaces.selector)}"
        case "Same":
            where = f"namespace {namespace}"
    return f"{who}{at} in {where}, and in no other one"


def _worded(selector: LabelSelector) -> str:
    labels = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    expressions = [
        f"{item.key} {item.operator} {','.join(item.values)}".rstrip() for item in selector.match_expressions
    ]
    return ", ".join([*labels, *expressions])


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
    verdict = judge(asked.manifest(""), asked.namespace)
    if not isinstance(verdict, Admitted):
        raise WrongUse(verdict.message)


def order_of(switch: Mapping[str, Any], now_ns: int) -> kill_pb2.KillOrder:
    """The order of a KillSwitch that is engaged, stored or not."""
    metadata = {"generation": 0, **switch["metadata"]}
    order = kill_order(read({**switch, "metadata": metadata}, KillSwitch, UnreadableKillSwitch))
    assert order is not None, "it is engaged"
    order.issued_unix_ns = now_ns
    return order


def scope_in(order: kill_pb2.KillOrder) -> Mapping[str, Any]:
    """Its spec.scope."""
    scope: Mapping[str, Any] = manifest(order)["spec"]["scope"]
    return scope


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
