"""Building blocks of the models: decimal strings, names, selectors, resources."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, Context, Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from crowetrade_api.model import ApiModel

UNSIGNED_DECIMAL = r"^(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"
SIGNED_DECIMAL = r"^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"
OBJECT_NAME = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"
SYMBOL = r"^[A-Z0-9][A-Z0-9._/-]{0,31}$"
DECIMAL_LENGTH = 40
QUANTITY_LENGTH = 64
"""Longest number in a status; see `fitting`."""


def rule(expression: str, message: str) -> dict[str, str]:
    """One CEL rule: `message` names the field and says what to write instead."""
    return {"rule": expression, "message": message}


def rules(*items: dict[str, str]) -> dict[str, Any]:
    """Schema extension that holds CEL rules."""
    return {"x-kubernetes-validations": list(items)}


def _raw(pattern: str) -> str:
    return "r'" + pattern + "'"


def _decimal(pattern: str, positive: bool, example: str, extra: list[dict[str, str]] | None = None) -> Any:
    sign = "greater than zero, " if positive else ""
    message = f'must be a decimal number in quotes, {sign}such as "{example}" (no exponent, no thousands separator)'
    expression = f"self.matches({_raw(pattern)})" + (" && self.matches(r'[1-9]')" if positive else "")
    schema = {"maxLength": DECIMAL_LENGTH, **rules(rule(expression, message), *(extra or []))}
    return Field(json_schema_extra=schema)


def _not_zero(text: str) -> str:
    """As the CEL rules do: files reach the agents without an API server in between."""
    if not any(digit in "123456789" for digit in text):
        raise ValueError("must be greater than zero")
    return text


PositiveDecimal = Annotated[
    str,
    StringConstraints(pattern=UNSIGNED_DECIMAL),
    AfterValidator(_not_zero),
    _decimal(UNSIGNED_DECIMAL, True, "250000"),
]
"""A decimal string above zero."""
UnsignedDecimal = Annotated[str, StringConstraints(pattern=UNSIGNED_DECIMAL), _decimal(UNSIGNED_DECIMAL, False, "0.5")]
"""A decimal string, zero or above."""
SignedDecimal = Annotated[str, StringConstraints(pattern=SIGNED_DECIMAL), _decimal(SIGNED_DECIMAL, False, "-0.1")]
"""A decimal string."""
_PROBABILITY = r"^0(\.[0-9]{1,18})?$"
_FRACTION = r"^(0(\.[0-9]{1,18})?|1(\.0{1,18})?)$"


def _matching(pattern: str, message: str) -> Any:
    return Field(json_schema_extra=rules(rule(f"self.matches({_raw(pattern)})", message)))


def _bounded(expression: str, message: str) -> Any:
    return Field(json_schema_extra={"maxLength": DECIMAL_LENGTH, **rules(rule(expression, message))})


Probability = Annotated[
    str,
    StringConstraints(pattern=_PROBABILITY),
    _bounded(
        f"self.matches({_raw(_PROBABILITY)})",
        'must be a decimal number in quotes, from "0" to less than "1", such as "0.55"',
    ),
]
"""A decimal string from 0 to less than 1."""
_CALENDAR = r"^(24x7|[A-Z0-9][A-Z0-9_/]{1,31})$"
CalendarName = Annotated[
    str,
    StringConstraints(pattern=_CALENDAR, max_length=64),
    _matching(_CALENDAR, 'must be "24x7" or the name of an exchange calendar in capitals such as XNYS or CMES'),
]
"""Which of them are known says exchange_calendars, which gateways alone have."""

_TIME_ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$"
TimeZoneName = Annotated[
    str,
    StringConstraints(pattern=_TIME_ZONE, max_length=64),
    Field(
        json_schema_extra=rules(
            rule(f"self.matches({_raw(_TIME_ZONE)})", "must be an IANA time zone such as America/New_York or UTC"),
            # Of a zone that it does not know the API server makes an error, which names the zone and refuses it, too.
            rule(
                f"!self.matches({_raw(_TIME_ZONE)}) || timestamp('2000-01-01T00:00:00Z').getHours(self) >= 0",
                "must be an IANA time zone that exists",
            ),
        )
    ),
]
"""A time zone of the IANA database. Which of them are known says the gateway's own copy in the end."""
_TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
TimeOfDay = Annotated[
    str,
    StringConstraints(pattern=_TIME_OF_DAY, max_length=5),
    _matching(_TIME_OF_DAY, 'must be a time of day in quotes such as "17:00"'),
]
"""Hours and minutes, HH:MM."""

Fraction = Annotated[
    str,
    StringConstraints(pattern=_FRACTION),
    AfterValidator(_not_zero),
    _bounded(
        f"self.matches({_raw(_FRACTION)}) && self.matches(r'[1-9]')",
        'must be a decimal number in quotes, greater than "0" and at most "1", such as "0.25"',
    ),
]
"""A decimal string above 0 and at most 1."""
Symbol = Annotated[
    str,
    StringConstraints(pattern=SYMBOL, max_length=32),
    Field(
        json_schema_extra={
            "minLength": 1,
            **rules(
                rule(
                    f"self.matches({_raw(SYMBOL)})",
                    "must be an instrument symbol in capitals such as EUR-USD: letters, digits and . _ / - only",
                )
            ),
        }
    ),
]
"""An instrument symbol."""
_VENUE_SYMBOL = r"^([a-z]([-a-z0-9]{0,38}[a-z0-9])?/)?[A-Z0-9][A-Z0-9._/-]{0,31}$"
VenueSymbol = Annotated[
    str,
    StringConstraints(pattern=_VENUE_SYMBOL, max_length=73),
    _matching(
        _VENUE_SYMBOL,
        "must be an instrument symbol in capitals such as EUR-USD, or venue/symbol such as sim-fx/EUR-USD",
    ),
]
"""An instrument at every venue, or VENUE/SYMBOL for the one at a venue: names of venues begin with a small letter,
symbols do not."""
_CURRENCY = r"^[A-Z0-9]{2,10}$"
Currency = Annotated[
    str,
    StringConstraints(pattern=_CURRENCY, max_length=10),
    _matching(_CURRENCY, "must be a currency code in capitals such as USD or USDT"),
]
"""A currency code: ISO 4217, or the venue's own for others."""
ObjectName = Annotated[
    str,
    StringConstraints(pattern=OBJECT_NAME, max_length=40),
    _matching(
        OBJECT_NAME,
        "must be a name of at most 40 characters: lower-case letters, digits and '-', starting with a letter, no dots",
    ),
]
"""Name of one of our resources in the same namespace."""


def section(model: type[BaseModel], description: str, *items: dict[str, str]) -> Any:
    """A field that holds a model whose fields all have defaults, with CEL rules between them."""
    schema: dict[str, Any] = {"default": {}, **(rules(*items) if items else {})}
    return Field(default_factory=model, description=description, json_schema_extra=schema)


def name_rule() -> dict[str, str]:
    """Names become parts of Service names, labels and bus subjects: short, and without dots."""
    return rule(
        f"self.metadata.name.matches({_raw(OBJECT_NAME)})",
        "metadata.name must be at most 40 characters of lower-case letters, digits and '-', "
        "starting with a letter, without dots: it becomes part of Service names and bus subjects",
    )


_NAMESPACE = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
NamespaceName = Annotated[
    str,
    StringConstraints(pattern=_NAMESPACE, max_length=63),
    _matching(
        _NAMESPACE, "must be the name of a namespace: at most 63 characters of lower-case letters, digits and '-'"
    ),
]
"""Name of a namespace."""


class VenueReference(ApiModel):
    """A VenueConnection, in this namespace or in another one that admits its strategies."""

    name: ObjectName = Field(description="metadata.name of the VenueConnection.")
    namespace: NamespaceName | None = Field(
        default=None,
        description="Namespace of the VenueConnection; default: that of the Strategy. Of another namespace it must "
        "admit the Strategy: spec.allowedStrategies of the VenueConnection.",
    )


class LabelRequirement(ApiModel):
    """One requirement on labels."""

    key: str = Field(description="Label key.", min_length=1, max_length=317)
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label relates to values: In, NotIn, Exists or DoesNotExist."
    )
    values: list[Annotated[str, StringConstraints(max_length=63)]] = Field(
        default_factory=list,
        description="Values for In and NotIn; empty for Exists and DoesNotExist.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class LabelSelector(ApiModel):
    """Selects resources by their labels; an empty selector selects all of the namespace."""

    match_labels: dict[str, Annotated[str, StringConstraints(max_length=63)]] = Field(
        default_factory=dict,
        description="Labels that must all be there with exactly these values.",
        max_length=16,
    )
    match_expressions: list[LabelRequirement] = Field(
        default_factory=list,
        description="Requirements that must all hold.",
        max_length=8,
        json_schema_extra={
            "x-kubernetes-list-type": "atomic",
            **rules(
                rule(
                    "self.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && e.values.size() > 0))",
                    "matchExpressions: write values for the operators In and NotIn, "
                    "and none for Exists and DoesNotExist",
                )
            ),
        },
    )

    def matches(self, labels: Labels) -> bool:
        """Whether an object with these labels is selected."""
        if any(labels.get(key) != value for key, value in self.match_labels.items()):
            return False
        return all(_holds(requirement, labels) for requirement in self.match_expressions)


def _holds(requirement: LabelRequirement, labels: Labels) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


Labels = Mapping[str, str]
"""metadata.labels."""


class NamespaceChoice(ApiModel):
    """Which namespaces, as listeners of the Gateway API say it."""

    from_: Literal["Same", "All", "Selector"] = Field(default="Same", alias="from")
    selector: LabelSelector = section(LabelSelector, "Namespaces by their labels, with from: Selector.")

    def selects(self, own: str, namespace: str, labels: Labels | None) -> bool | None:
        """Whether the resource of namespace `own` means this namespace; None while its labels, which decide it, are not
        known."""
        match self.from_:
            case "All":
                return True
            case "Same":
                return namespace == own
        return None if labels is None else self.selector.matches(labels)


SELECTOR_WRITTEN = rule(
    "!has(self.from) || self.from != 'Selector' || (has(self.selector) && (has(self.selector.matchLabels) && "
    "self.selector.matchLabels.size() > 0 || has(self.selector.matchExpressions) && "
    "self.selector.matchExpressions.size() > 0))",
    "from: Selector needs a selector with matchLabels or matchExpressions; for every namespace write from: All",
)


_QUANTITY = r"^([0-9]{1,12})(\.[0-9]{1,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
Quantity = Annotated[
    str,
    StringConstraints(pattern=_QUANTITY, max_length=24),
    _matching(
        _QUANTITY,
        'must be a quantity in quotes such as "50m", "0.5", "128Mi" or "1Gi"',
    ),
]
"""A Kubernetes resource quantity."""
_SUFFIXES = {"": Decimal(1), "m": Decimal("0.001")}
_SUFFIXES |= {suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T"), 1)}
_SUFFIXES |= {suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)}


def amount_of(quantity: Quantity) -> Decimal:
    """What it stands for, in cores or bytes: two may be written in different units."""
    number = quantity.rstrip("mkKMGTi")
    return Decimal(number) * _SUFFIXES[quantity[len(number) :]]


class ResourceAmounts(ApiModel):
    """Amounts of computing resources."""

    cpu: Quantity | None = Field(default=None, description="Processor time in cores, such as 50m or 0.5.")
    memory: Quantity | None = Field(default=None, description="Memory in bytes, such as 128Mi.")
    ephemeral_storage: Quantity | None = Field(
        default=None,
        alias="ephemeral-storage",
        description="Storage of its node in bytes, such as 1Gi, which the log and files in /tmp take. Without it 64Mi "
        "is requested and 512Mi is the limit, of which /tmp may take 64Mi; if the limit is set, /tmp may take as much. "
        "If only one of the two is set, the other gives way to it where the request would be above the limit.",
    )


class Resources(ApiModel):
    """What each pod asks for and may use at most."""

    requests: ResourceAmounts = Field(
        default_factory=lambda: ResourceAmounts(cpu="50m", memory="128Mi"),
        description="What is reserved for each pod.",
        json_schema_extra={"default": {"cpu": "50m", "memory": "128Mi"}},
    )
    limits: ResourceAmounts = Field(
        default_factory=lambda: ResourceAmounts(memory="512Mi"),
        description="What each pod may use at most; a pod above its memory limit is killed.",
        json_schema_extra={"default": {"memory": "512Mi"}},
    )


def cut(text: str, length: int) -> str:
    """Text that fits a field of a status."""
    return text if len(text) <= length else text[: length - 3] + "..."


def fitting(text: str, length: int = QUANTITY_LENGTH) -> str:
    """A decimal number that fits a field of a status: decimal places are cut first, then digits for an exponent.

    A status is never refused for the length of a number.
    """
    if len(text) <= length:
        return text
    value = Decimal(text)
    whole = len(format(value.to_integral_value(ROUND_DOWN), "f"))
    if whole + 2 <= length:
        exponent = Decimal(1).scaleb(whole + 1 - length)
        return plain(value.quantize(exponent, rounding=ROUND_DOWN, context=Context(prec=length + 1)))
    return format(value, f".{max(length - 16, 0)}E")


def plain(value: Decimal) -> str:
    """Shortest plain form of a decimal: no exponent and no trailing zeros."""
    text = format(value, "f")
    short = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if short == "-0" else short
