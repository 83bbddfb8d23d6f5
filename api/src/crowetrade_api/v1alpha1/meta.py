"""metadata of our resources, as far as the operator reads it, the base of the kinds, and what cannot be read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, ValidationError, WrapValidator

from crowetrade_api.model import ApiModel
from crowetrade_api.names import CLEAR_HALT_ANNOTATION, FORCE_DELETE_ANNOTATION, PAUSED_ANNOTATION

NOT_OBSERVED = -1
"""status.observedGeneration of a resource that no operator has looked at, by the schema's default: kstatus, and so Flux
and kpt, would take a new resource without it for current."""
ObservedGeneration = Annotated[
    int,
    Field(
        description=(
            "metadata.generation that this status was made for; -1 before an operator has looked at the resource, 0 "
            "where reconciling was paused before anything ran."
        ),
        ge=NOT_OBSERVED,
    ),
]


class Metadata(ApiModel):
    """The part of ObjectMeta that decisions are made from."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 1
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: list[str] = Field(default_factory=list)


class Resource(ApiModel):
    """What the kinds have in common."""

    metadata: Metadata

    @property
    def name(self) -> str:
        """metadata.name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return self.metadata.namespace

    @property
    def deleting(self) -> bool:
        """Whether somebody asked to delete it."""
        return self.metadata.deletion_timestamp is not None

    @property
    def paused(self) -> bool:
        """Whether the annotation asks the operator to leave the children alone."""
        return self.metadata.annotations.get(PAUSED_ANNOTATION, "").lower() == "true"

    @property
    def unreadable_pause(self) -> str:
        """Value of that annotation when it is neither true nor false; empty when it can be read, or is not there."""
        given = self.metadata.annotations.get(PAUSED_ANNOTATION, "")
        return "" if given.lower() in ("true", "false") else given

    @property
    def force_delete(self) -> bool:
        """Whether the annotation asks to let go without waiting for the gateway."""
        return self.metadata.annotations.get(FORCE_DELETE_ANNOTATION, "").lower() == "true"

    @property
    def cleared_halts(self) -> list[str]:
        """Halts that a person has cleared, REASON@EVENT, each once; a reason is optional. What holds a slash is a
        breach."""
        entries = self.metadata.annotations.get(CLEAR_HALT_ANNOTATION, "").split(";")
        names = {name.strip() for entry in entries for name in entry.partition(":")[0].split(",")}
        return sorted(name for name in names if name and "/" not in name)

    @property
    def breaches_cleared_as_halts(self) -> dict[str, str]:
        """Breaches whose RiskLimit is gone that a person has cleared at the VenueConnection, with the reason."""
        given = reasoned(self.metadata.annotations.get(CLEAR_HALT_ANNOTATION, ""))
        return {breach: reason for breach, reason in given.items() if "/" in breach}


class Unreadable(Resource):
    """A stored object whose spec these models cannot read, as after a downgrade. It halts what it concerns."""

    spec: Any = None
    problem: str
    """Field and fault, for people."""


def reasoned(text: str) -> dict[str, str]:
    """What `ID: reason`, separated by semicolons, says; an entry without a reason is left out."""
    pairs = (entry.partition(":") for entry in text.split(";"))
    return {name.strip(): reason.strip() for name, _, reason in pairs if name.strip() and reason.strip()}


R = TypeVar("R", bound=Resource)
U = TypeVar("U", bound=Unreadable)
T = TypeVar("T", bound=BaseModel)


def read(item: dict[str, Any], model: type[R], unreadable: type[U]) -> R | U:
    """A stored object as its model, or as `unreadable` when its spec does not match; the status never decides."""
    try:
        return model.model_validate(item)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        return unreadable.model_validate({**item, "problem": problem[:500]})


def _leniently(value: Any, validate: Callable[[Any], T]) -> T:
    """Leaves out what cannot be read: a status may hold words of another version, and is only a report."""
    if not isinstance(value, dict):
        return validate(value if isinstance(value, BaseModel) else {})
    left = value
    while True:
        try:
            return validate(left)
        except ValidationError as error:
            left = copy.deepcopy(value) if left is value else left
            first = error.errors()[0]
            path = first["loc"][:-1] if first["type"] == "missing" else first["loc"]
            if not _leave_out(left, path):
                return validate({})


def _leave_out(tree: Any, path: tuple[int | str, ...]) -> bool:
    """Takes the item at the path away; tells whether it was there."""
    for part in path[:-1]:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return False
    try:
        del tree[path[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


LENIENT = WrapValidator(_leniently)
"""For the status of a resource: what cannot be read is left out, nothing is refused."""


def read_status(value: Any, model: type[T]) -> T:
    """A stored status by itself, as leniently."""
    return _leniently(value, model.model_validate)


REPORTED = "When the operator last wrote this status. It does so from time to time although nothing has changed."
"""Of status.lastReportTime, which every kind has: it grows old when no operator works."""
UNREPORTED_MINUTES = 20
"""A status that is older says how it was, not how it is."""


def printer_column(
    name: str, path: str, type_: str = "string", priority: int = 0, description: str = ""
) -> dict[str, Any]:
    """One column of `kubectl get`; priority 1 shows with -o wide only."""
    column: dict[str, Any] = {"name": name, "type": type_, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})


def reported_column() -> dict[str, Any]:
    """Grows old when no operator works."""
    text = f"Time since the operator wrote the status; more than {UNREPORTED_MINUTES} minutes: no operator works."
    return printer_column("Reported", ".status.lastReportTime", "date", description=text)
