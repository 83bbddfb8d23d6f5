"""Text to values, as kubectl reads it; 1.0 arrives as 1, because kubectl sends JSON.

What kubectl passes over in silence is refused here: a key that is there twice, and what follows the end of a document.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from crowetrade_cli.errors import Failed
from crowetrade_cli.manifests.go_text import number, quoted, whole_numbers
from crowetrade_cli.manifests.scalars import resolved

MAX_DEPTH = 100
MAX_DOCUMENTS = 10_000
"""In one file."""
MAX_VALUES = 200_000
"""In one document, with aliases written out: more than ten times the largest manifest that the schema admits."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")
_SEPARATOR = re.compile(r"^---.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """A value, the line on which its document starts, and which document of its file it is; both from 1."""

    value: Any
    line: int
    number: int


def documents(text: str, file: str) -> list[Document]:
    """All documents of a file, without those that are empty."""
    read = _json_documents(text, file) if text.lstrip().startswith("{") else None
    return read if read is not None else list(_yaml_documents(text, file))


class _Twice(Exception):
    """A key of a JSON object is there twice."""


def _json_documents(text: str, file: str) -> list[Document] | None:
    """JSON values one after the other, or None where the text is a YAML mapping in braces."""
    decoder = json.JSONDecoder(object_pairs_hook=_pairs)
    found: list[Document] = []
    place, line = _after_space(text, 0, 1)
    while place < len(text):
        try:
            value, end = decoder.raw_decode(text, place)
        except _Twice as error:
            raise Failed(f"{file}, object that starts on line {line}: the key {error} is there twice") from None
        except RecursionError:
            raise Failed(f"{file}, line {line}: nested more than {MAX_DEPTH} deep") from None
        except ValueError as error:
            if not found:
                return None
            raise Failed(f"{file}, after line {line}: {error}") from None
        _Bounds(file, line).check_tree(value)
        found.append(Document(whole_numbers(value), line, len(found) + 1))
        _check_count(len(found), file)
        place, line = _after_space(text, end, line + text.count("\n", place, end))
    return found


def _after_space(text: str, place: int, line: int) -> tuple[int, int]:
    """The next place without white space, and its line."""
    while text[place : place + 1].isspace():
        line += text[place] == "\n"
        place += 1
    return place, line


def _check_count(count: int, file: str) -> None:
    if count > MAX_DOCUMENTS:
        raise Failed(f"{file}: more than {MAX_DOCUMENTS} documents in one file")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise _Twice(quoted(key))
        out[key] = value
    return out


def _yaml_documents(text: str, file: str) -> Iterator[Document]:
    for count, (line, part) in enumerate(_parts(text, file), start=1):
        _check_count(count, file)
        value = _Builder(file, line).value_of(part)
        if value is not None:
            yield Document(whole_numbers(value), line, count)


def _parts(text: str, file: str) -> Iterator[tuple[int, str]]:
    """The texts between lines that start with ---, and the number of their first line."""
    start, line = 0, 1
    for separator in _SEPARATOR.finditer(text):
        after = separator.group()[3:].strip()
        number_of_line = line + text.count("\n", start, separator.start())
        if after and not after.startswith("#"):
            raise Failed(f"{file}, line {number_of_line}: a line that starts with --- must end there, found {after}")
        if text[start : separator.start()].strip():
            yield line, text[start : separator.start()]
        start, line = separator.end(), number_of_line
    if text[start:].strip():
        yield line, text[start:]


class _Bounds:
    """Counts values, those behind an alias each time, so that a small file cannot become a large value."""

    def __init__(self, file: str, line: int) -> None:
        self.file = file
        self.first_line = line
        self.count = 0

    def failed(self, line: int, what: str) -> Failed:
        """An error with its place; the line counts from 0 in the document."""
        return Failed(f"{self.file}, line {self.first_line + line}: {what}")

    def add(self, values: int, line: int) -> None:
        """Refuses what becomes too large."""
        self.count += values
        if self.count > MAX_VALUES:
            raise self.failed(line, f"more than {MAX_VALUES} values in one document, with aliases written out")

    def check_tree(self, value: Any, depth: int = 0) -> None:
        """The same for values that are built."""
        self.add(1, 0)
        if depth > MAX_DEPTH:
            raise self.failed(0, f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, float) and not math.isfinite(value):
            raise self.failed(0, f"{value} is no number that JSON can carry")
        if isinstance(value, int) and value.bit_length() > 1023:
            raise self.failed(0, "a number has more than 300 digits")
        if isinstance(value, str) and _SURROGATE.search(value):
            raise self.failed(0, "a string has half of a surrogate pair, which is no text")
        if isinstance(value, dict):
            for key, item in value.items():
                self.check_tree(key, depth + 1)
                self.check_tree(item, depth + 1)
        elif isinstance(value, list):
            for item in value:
                self.check_tree(item, depth + 1)


class _Builder(_Bounds):
    """Builds the value of one document from the parser's events."""

    def __init__(self, file: str, line: int) -> None:
        super().__init__(file, line)
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._open: set[str] = set()
        self._events: Iterator[Any] = iter(())

    def value_of(self, text: str) -> Any:
        """The value, None for a document without any."""
        try:
            self._events = yaml.parse(text, Loader=_Loader)
            event = next(self._events)
            while not isinstance(event, yaml.NodeEvent):
                if isinstance(event, yaml.StreamEndEvent):
                    return None
                event = next(self._events)
            value = self._value(event, 0)
            for _ in self._events:  # what follows must be well-formed, too
                pass
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
            raise self.failed(mark.line if mark else 0, f"not YAML: {problem}") from None
        return value

    def _value(self, event: Any, depth: int) -> Any:
        line = event.start_mark.line
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        if depth > MAX_DEPTH:
            raise self.failed(line, f"nested more than {MAX_DEPTH} deep")
        before = self.count
        self.add(1, line)
        if event.anchor:
            self._open.add(event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(depth)
        else:
            value = self._mapping(depth)
        if event.anchor:
            self._open.discard(event.anchor)
            self._anchors[event.anchor] = (value, self.count - before)
        return value

    def _alias(self, anchor: str, line: int) -> Any:
        if anchor in self._open:
            raise self.failed(line, f"the anchor {anchor} contains itself")
        if anchor not in self._anchors:
            raise self.failed(line, f"no anchor {anchor} before this line")
        value, size = self._anchors[anchor]
        self.add(size, line)
        return value

    def _sequence(self, depth: int) -> list[Any]:
        out = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            out.append(self._value(event, depth + 1))
        return out

    def _mapping(self, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                merged |= self._merged(self._value(next(self._events), depth + 1), line)
                continue
            key = self._key(self._value(event, depth + 1), line)
            if key in lines:
                first = self.first_line + lines[key]
                raise self.failed(line, f"the key {quoted(key)} is there twice, first on line {first}")
            lines[key] = line
            out[key] = self._value(next(self._events), depth + 1)
        return merged | out

    def _merged(self, value: Any, line: int) -> dict[str, Any]:
        mappings = value if isinstance(value, list) else [value]
        out: dict[str, Any] = {}
        for mapping in reversed(mappings):
            if not isinstance(mapping, dict):
                raise self.failed(line, "<< takes a mapping or a list of mappings")
            out |= mapping
        return out

    def _key(self, value: Any, line: int) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float):
            return number(value)
        raise self.failed(line, "a key must be a word or a number")

    def _scalar(self, event: Any) -> Any:
        tag, text = event.tag or "", event.value
        if tag == f"{_TAG}binary":
            return self._binary(text, event.start_mark.line)
        if tag in (f"{_TAG}str", f"{_TAG}timestamp", "!") or (not tag and not event.implicit[0]):
            return text
        value = resolved(text)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.failed(event.start_mark.line, f"{text} is no number that JSON can carry")
        kinds = {"": object, "null": type(None), "bool": bool, "int": int, "float": (int, float)}
        kind: Any = kinds.get(tag.removeprefix(_TAG))
        if kind is None:
            raise self.failed(event.start_mark.line, f"the tag {tag.replace(_TAG, '!!')} has no meaning here")
        if not isinstance(value, kind):
            raise self.failed(event.start_mark.line, f"{text} is no {tag.replace(_TAG, '!!')}")
        return value

    def _binary(self, text: str, line: int) -> str:
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise self.failed(line, "!!binary must be text in base64") from None
