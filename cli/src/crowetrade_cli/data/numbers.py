"""Numbers as other people write them, as text of the decimal grammar of crowetrade_agents.domain.numbers.

No number is ever a float: digits are moved as text, and only an exponent is resolved, by Decimal, exactly. Trailing
zeros stay.

A file has one decimal mark, point or comma. The other one, a blank, an apostrophe or an underscore may separate
thousands, in groups of three. Which mark it is follows from the numbers of the file's beginning:

- a number with both has its decimal mark last;
- a mark that is there twice in a number separates thousands;
- a comma is a decimal mark unless it stands as in "1,234", between one to three digits and three, without a 0 in front
  and without another separator of thousands;
- a single point is a decimal mark;
- what is left, such as "1,234" in all numbers, could mean both, and the user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Context, Decimal, InvalidOperation

import pyarrow
import pyarrow.compute

from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.errors import InvalidNumber
from crowetrade_cli.data.field import Field, field_of, is_any
from crowetrade_cli.errors import WrongUse

_GRAMMAR = r"^-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?$"
_MISSING = pyarrow.array(["", "null", "NULL", "NaN", "nan", "NA", "N/A", "n/a", "None", "-"])
_WHY = "is not a decimal number of at most 20 digits before the point and 18 after it"
_WIDE = Context(prec=80)
_SEPARATORS = " '’_\u00a0\u202f"
_MAY_BE_THOUSANDS = re.compile(r"[1-9][0-9]{0,2},[0-9]{3}")
_TELLING = {
    ".": re.compile(r"[0-9]{1,3}(,[0-9]{3})+\.[0-9]*|[0-9]{1,3}(,[0-9]{3}){2,}|[0-9]*\.[0-9]*"),
    ",": re.compile(r"[0-9]{1,3}(\.[0-9]{3})+,[0-9]*|[0-9]{1,3}(\.[0-9]{3}){2,}|[0-9]*,[0-9]*"),
}
"""Numbers that tell the decimal mark."""


def infer_mark(texts: Iterable[str]) -> str:
    """The decimal mark, "." or ",", of a file's first numbers; "" when they have neither, so that a comma that comes
    later stays wrong. Raises WrongUse when both may be meant."""
    marks: set[str] = set()
    doubtful = ""
    for text in texts:
        number = text.strip().lstrip("+-")
        if _MAY_BE_THOUSANDS.fullmatch(number):
            doubtful = text
            continue
        ungrouped = re.sub(rf"(?<=[0-9])[{_SEPARATORS}](?=[0-9]{{3}})", "", number)
        marks.update(mark for mark, shape in _TELLING.items() if shape.fullmatch(ungrouped))
    if len(marks) > 1:
        raise WrongUse("the numbers have points and commas in both meanings: write --decimal point or --decimal comma")
    if marks:
        return marks.pop()
    if doubtful:
        raise WrongUse(
            f"{doubtful!r} may have a decimal comma or separate thousands: write --decimal comma or --decimal point"
        )
    return ""


def read_numbers(texts: pyarrow.Array, mark: str = ".") -> Field:
    """Numbers in the grammar. Nothing, NaN and their like are null."""
    # With a decimal comma a point separates thousands, so 1.000 is not what it looks like.
    if mark != "," and is_grammatical(texts):
        return Field(texts, texts)
    missing = pyarrow.compute.is_in(texts, value_set=_MISSING)
    plain = pyarrow.compute.if_else(missing, None, _plain(texts, mark))
    wrong = pyarrow.compute.invert(pyarrow.compute.match_substring_regex(plain, _GRAMMAR))
    return field_of(plain, texts, pyarrow.compute.fill_null(wrong, False), _WHY)


def is_grammatical(texts: pyarrow.Array) -> bool:
    """Whether every text, without nulls, is of the grammar."""
    return not texts.null_count and not is_any(
        pyarrow.compute.invert(pyarrow.compute.match_substring_regex(texts, _GRAMMAR))
    )


def shift_point(numbers: pyarrow.Array, places: int) -> pyarrow.Array:
    """Whole numbers of the grammar divided by 10^places, as text with that many decimals."""
    if not places:
        return numbers
    signs = pyarrow.compute.if_else(pyarrow.compute.starts_with(numbers, "-"), "-", "")
    digits = pyarrow.compute.utf8_lpad(pyarrow.compute.utf8_ltrim(numbers, "-"), places + 1, "0")
    whole = pyarrow.compute.utf8_slice_codeunits(digits, 0, -places)
    fraction = pyarrow.compute.utf8_slice_codeunits(digits, -places)
    shifted = pyarrow.compute.binary_join_element_wise(whole, fraction, ".")
    return pyarrow.compute.binary_join_element_wise(signs, shifted, "")


def shifted_field(numbers: Field, places: int) -> Field:
    """Whole numbers of 10^-places each. Others are wrong."""
    if not places:
        return numbers
    whole = pyarrow.compute.invert(pyarrow.compute.match_substring(numbers.values, "."))
    if not is_any(pyarrow.compute.invert(whole)):
        return Field(shift_point(numbers.values, places), numbers.texts, numbers.wrong, numbers.why)
    return by_value(numbers, lambda value: _WIDE.scaleb(value, -places))


def multiplied(numbers: Field, factor: Decimal) -> Field:
    """Numbers times a factor, exactly. A product has no trailing zeros; one outside the grammar is wrong."""
    return numbers if factor == 1 else by_value(numbers, lambda value: _WIDE.normalize(_WIDE.multiply(value, factor)))


def by_value(numbers: Field, change: Callable[[Decimal], Decimal]) -> Field:
    """Each number changed; a number that comes again is changed once per batch."""
    encoded = numbers.values.dictionary_encode()
    changed = pyarrow.array(
        [_rendered(change(Decimal(text))) for text in encoded.dictionary.to_pylist()], pyarrow.string()
    )
    values = changed.take(encoded.indices)
    lost = pyarrow.compute.and_(pyarrow.compute.is_null(values), pyarrow.compute.is_valid(numbers.values))
    if is_any(lost):
        return field_of(values, numbers.texts, lost, "has more digits than a price or size can have")
    return Field(values, numbers.texts, numbers.wrong, numbers.why)


def _plain(texts: pyarrow.Array, mark: str) -> pyarrow.Array:
    other = {".": ",", ",": "."}.get(mark, "")
    groups = "|".join(rf"(?:{re.escape(separator)}[0-9]{{3}})+" for separator in other + _SEPARATORS)
    plain = pyarrow.compute.utf8_trim_whitespace(texts)
    grouped = pyarrow.compute.match_substring_regex(
        plain, rf"^[+-]?[0-9]{{1,3}}(?:{groups})(?:{re.escape(mark or '.')}[0-9]*)?$"
    )
    if is_any(grouped):
        ungrouped = pyarrow.compute.replace_substring_regex(plain, rf"[{re.escape(other)}{_SEPARATORS}]", "")
        plain = pyarrow.compute.if_else(grouped, ungrouped, plain)
    if mark == ",":
        # A point that separates no thousands is no part of a number here, so it must not become one.
        plain = pyarrow.compute.replace_substring(pyarrow.compute.replace_substring(plain, ".", "?"), ",", ".")
    # In RE2 a group's reference is one digit, so \10 is group 1 and a zero.
    for pattern, replacement in ((r"^\+", ""), (r"^(-?)0+([0-9])", r"\1\2"), (r"^(-?)\.", r"\10."), (r"\.$", "")):
        plain = pyarrow.compute.replace_substring_regex(plain, pattern, replacement)
    exponents = pyarrow.compute.match_substring_regex(plain, r"^-?[0-9]+(\.[0-9]+)?[eE][+-]?[0-9]{1,3}$")
    if is_any(exponents):
        encoded = pyarrow.compute.filter(plain, exponents)
        values = pyarrow.array([_rendered(Decimal(text)) or text for text in encoded.to_pylist()], pyarrow.string())
        plain = pyarrow.compute.replace_with_mask(plain, exponents, values)
    return plain


def _rendered(value: Decimal) -> str | None:
    """Text of the grammar, None when the number does not fit into it."""
    try:
        text = format(value, "f")
        parse(text)
    except (InvalidNumber, InvalidOperation):
        return None
    return text
