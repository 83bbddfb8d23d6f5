"""kubectl as functions: JSON in, JSON out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.demo.errors import CommandFailed
from tools.demo.shell import run

Object = dict[str, Any]


@dataclass(frozen=True)
class Kubectl:
    """kubectl with the arguments and environment that choose a cluster."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Standard output; raises CommandFailed."""
        return run([*self.command, *arguments], environment=self.environment, stdin=stdin, timeout=timeout)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None when there is none."""
        output = self("get", kind, name, "--ignore-not-found", "-o", "json", *_namespace(namespace))
        return json.loads(output) if output.strip() else None

    def list(self, kinds: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """All objects of comma-separated kinds."""
        arguments = ["get", kinds, "-o", "json", *_namespace(namespace)]
        if selector:
            arguments += ["-l", selector]
        items: list[Object] = json.loads(self(*arguments))["items"]
        return items

    def apply(self, objects: Iterable[Object], namespace: str | None = None) -> None:
        """Server-side apply of objects."""
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self("apply", "--server-side", "--force-conflicts", "-f", "-", *_namespace(namespace), stdin=manifest)

    def apply_text(self, text: str, namespace: str | None = None) -> None:
        """Server-side apply of YAML documents."""
        self("apply", "--server-side", "--force-conflicts", "-f", "-", *_namespace(namespace), stdin=text)

    def refusal(self, obj: Object, namespace: str) -> str | None:
        """Why the API server refuses an object, None when it would take it (nothing is stored)."""
        try:
            self("create", "--dry-run=server", "-f", "-", "-n", namespace, stdin=json.dumps(obj))
        except CommandFailed as error:
            return str(error)
        return None


def _namespace(namespace: str | None) -> list[str]:
    return ["-n", namespace] if namespace else []


def condition(obj: Object | None, kind: str) -> Object | None:
    """A condition of an object's status by its type."""
    conditions = (obj or {}).get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), None)


def missing_condition(obj: Object | None, kind: str, status: str = "True") -> str | None:
    """None when a condition has the status, otherwise what is seen instead."""
    if obj is None:
        return "it is not there"
    found = condition(obj, kind)
    if found is None:
        return f"no condition {kind} yet"
    generation = obj["metadata"].get("generation")
    if found.get("observedGeneration", generation) != generation:
        return f"condition {kind} is of generation {found['observedGeneration']}, not {generation}"
    if found["status"] == status:
        return None
    return f"{kind} is {found['status']}: {found.get('reason', '')}: {found.get('message', '')}"
