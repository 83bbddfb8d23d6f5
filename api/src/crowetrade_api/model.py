"""The bases of every model and of every list of words."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """Frozen, camelCase outside, and tolerant of fields that a newer version added."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_enum_values=True,
        # A process reads one or two files: validators of the other models are never built.
        defer_build=True,
    )

    def to_api(self) -> dict[str, Any]:
        """As the API server stores it: camelCase, without fields that are not set."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


class DocumentedEnum(StrEnum):
    """A list of words, each with a line of documentation: `NAME = "Word", "What it means."`; a word that wants a person
    to act has a second line, which says what to do."""

    doc: str
    remedy: str

    def __new__(cls, value: str, doc: str = "", remedy: str = "") -> Self:
        """The member is its word; a look-up by the word alone passes no documentation."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        member.remedy = remedy
        return member
