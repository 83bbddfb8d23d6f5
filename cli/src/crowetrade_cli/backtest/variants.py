"""The variants of manifests that `--set` asks for. Pure.

A setting is KIND/NAME:PATH=VALUES, as strategy/eurusd-ema:spec.model.parameters.fast=3..8. KIND is what kubectl calls
it; PATH names fields by dots and items of a list by their number from 0. VALUES are one value, several with commas
between them, or a range FIRST..LAST, LAST included, with /STEP after it where the step is not 1.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from crowetrade_agents.domain.numbers import CONTEXT, render
from crowetrade_api import crd
from crowetrade_cli.errors import WrongUse
from crowetrade_cli.manifests.admission import schema_of
from crowetrade_cli.manifests.scalars import resolved
from crowetrade_cli.manifests.selection import Found, metadata_of
from crowetrade_cli.manifests.structure import Schema, property_schema

MOST_VARIANTS = 10_000
_FORM = "write KIND/NAME:PATH=VALUES, as strategy/eurusd-ema:spec.model.parameters.fast=3..8"


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of one manifest and the values that it is to have."""

    kind: str
    name: str
    path: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def target(self) -> str:
        """As it was written, without the values."""
        return f"{self.kind.lower()}/{self.name}:{'.'.join(self.path)}"


@dataclass(frozen=True, slots=True)
class Variant:
    """Manifests, not judged yet, and the values that were set in them, by the targets of the settings."""

    parameters: dict[str, str]
    manifests: tuple[Found, ...]


def text_of(parameters: Mapping[str, str]) -> str:
    """What was set, for a sentence."""
    return ", ".join(f"{name}={value}" for name, value in parameters.items())


def setting(text: str) -> Setting:
    """Raises WrongUse with a sentence for a text that is none."""
    target, equals, values = text.partition("=")
    resource, colon, path = target.partition(":")
    kind, slash, name = resource.partition("/")
    if not (equals and colon and slash and name and path and values):
        raise WrongUse(f"--set {text!r} is no setting: {_FORM}")
    parts = tuple(path.split("."))
    if parts[0] != "spec" or "" in parts or len(parts) == 1:
        raise WrongUse(f"--set {text!r} sets {path!r}: only a field below spec can be set, as spec.suspend")
    return Setting(_kind(kind, text), name, parts, tuple(dict.fromkeys(_values(values, text))))


def variants(manifests: Sequence[Found], settings: Sequence[Setting]) -> list[Variant]:
    """One for each combination of values, the last setting's values changing first; without settings, one. Raises
    WrongUse."""
    count = 1
    for one in settings:
        count *= len(one.values)
    if count > MOST_VARIANTS:
        raise WrongUse(f"--set asks for {count} runs, more than {MOST_VARIANTS}: give fewer values, or larger steps")
    targets = [one.target for one in settings]
    if twice := next((target for target in targets if targets.count(target) > 1), None):
        raise WrongUse(f"--set names {twice} twice: give all its values in one, with commas between them")
    found = []
    for values in itertools.product(*(one.values for one in settings)):
        changed = list(manifests)
        for one, value in zip(settings, values, strict=True):
            place = _place(changed, one)
            changed[place] = Found(_changed(changed[place].manifest, one, value), changed[place].place)
        found.append(Variant(dict(zip(targets, values, strict=True)), tuple(changed)))
    return found


def _kind(text: str, whole: str) -> str:
    for model in crd.KINDS:
        if text.lower() in {model.__name__.lower(), model.PLURAL, *model.SHORT_NAMES}:
            return model.__name__
    raise WrongUse(f"--set {whole!r} names the kind {text!r}: write strategy, venueconnection or risklimit")


def _values(text: str, whole: str) -> Iterator[str]:
    for part in text.split(","):
        if not part:
            # YAML reads nothing as null, which would be the default of the field.
            raise WrongUse(f"--set {whole!r} has a value that is empty: write one between all commas")
        first, dots, rest = part.partition("..")
        if not dots:
            yield part
            continue
        last, _, step = rest.partition("/")
        yield from _range(first, last, step or "1", whole)


def _range(first: str, last: str, step: str, whole: str) -> Iterator[str]:
    try:
        low, high, width = Decimal(first), Decimal(last), Decimal(step)
        if not all(number.is_finite() for number in (low, high, width)) or width <= 0 or high < low:
            raise WrongUse(f"--set {whole!r}: a range goes up by a step above 0, as 3..8 or 0.1..0.5/0.1")
        if (high - low) / width >= MOST_VARIANTS:
            raise WrongUse(f"--set {whole!r} has more than {MOST_VARIANTS} values: take a larger step")
        while low <= high:
            yield render(low)
            low, before = CONTEXT.add(low, width), low
            if low == before:
                raise WrongUse(f"--set {whole!r}: the step is too small beside its numbers: take a larger one")
    except ArithmeticError:
        raise WrongUse(f"--set {whole!r}: a range is of numbers, as 3..8 or 0.1..0.5/0.1") from None


def _place(manifests: Sequence[Found], one: Setting) -> int:
    same = [(place, found) for place, found in enumerate(manifests) if found.manifest["kind"] == one.kind]
    named = [(place, found.place) for place, found in same if metadata_of(found.manifest, "name") == one.name]
    if not named:
        names = {str(metadata_of(found.manifest, "name")) for _, found in same}
        there = ", ".join(sorted(names)) or "none"
        raise WrongUse(f"--set names {one.target}, and no {one.kind} of that name is there: there is {there}")
    if len(named) > 1:
        where = " and ".join(place for _, place in named)
        raise WrongUse(
            f"--set names {one.target}, which is there in several namespaces ({where}): give the manifests of one"
        )
    return named[0][0]


def _changed(manifest: dict[str, Any], one: Setting, value: str) -> dict[str, Any]:
    changed = copy.deepcopy(manifest)
    inner: Any = changed
    for step in one.path[:-1]:
        inner = _inside(inner, step, one)
    last = one.path[-1]
    if isinstance(inner, list):
        _inside(inner, last, one)
        inner[int(last)] = _typed(value, inner[int(last)], one)
    elif isinstance(inner, dict):
        inner[last] = _typed(value, inner.get(last), one)
    else:
        raise WrongUse(f"--set {one.target}: {'.'.join(one.path[:-1])} holds no fields")
    return changed


def _inside(value: Any, step: str, one: Setting) -> Any:
    if isinstance(value, list):
        if not step.isdecimal() or int(step) >= len(value):
            raise WrongUse(f"--set {one.target}: {step!r} is no item of a list of {len(value)}, numbered from 0")
        return value[int(step)]
    if isinstance(value, dict):
        return value.setdefault(step, {})
    raise WrongUse(f"--set {one.target}: there is no field {step!r} in what is no object")


def _typed(value: str, before: Any, one: Setting) -> Any:
    """Text where the manifest or the kind has text; otherwise what kubectl would read, but for decimals: no kind has
    any but as text."""
    if isinstance(before, str) or _is_text(one):
        return value
    word = resolved(value)
    return value if isinstance(word, float) else word


def _is_text(one: Setting) -> bool:
    schema: Schema | None = schema_of(one.kind)
    for step in one.path:
        schema = schema["items"] if schema and "items" in schema else property_schema(schema, step)
    return schema is not None and schema.get("type") == "string"
