"""metadata of our resources, as far as the operator reads it, and the base of the three kinds."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from crowetrade_api.model import ApiModel
from crowetrade_api.names import FORCE_DELETE_ANNOTATION, PAUSED_ANNOTATION


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
    """What the three kinds have in common."""

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
    def force_delete(self) -> bool:
        """Whether the annotation asks to let go without waiting for the gateway."""
        return self.metadata.annotations.get(FORCE_DELETE_ANNOTATION, "").lower() == "true"


def printer_column(
    name: str, path: str, type_: str = "string", priority: int = 0, description: str = ""
) -> dict[str, Any]:
    """One column of `kubectl get`; priority 1 shows with -o wide only."""
    column: dict[str, Any] = {"name": name, "type": type_, "jsonPath": path, "description": description}
    return column | ({"priority": priority} if priority else {})
