"""The base of every model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """Frozen, camelCase outside, and tolerant of fields that a newer version added."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore", use_enum_values=True
    )

    def to_api(self) -> dict[str, Any]:
        """As the API server stores it: camelCase, without fields that are not set."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")
