"""Numbers keep their value and their digits, however they are written."""

from __future__ import annotations

from decimal import Context, Decimal

import pyarrow
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crowetrade_agents.domain.numbers import parse
from crowetrade_cli.data.field import Field
from crowetrade_cli.data.numbers import infer_mark, multiplied, read_numbers, shifted_field
from crowetrade_cli.errors import WrongUse

numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?", fullmatch=True)


def read(*texts: str, mark: str = ".") -> list[str | None]:
    values: list[str | None] = read_numbers(pyarrow.array(texts, pyarrow.string()), mark).values.to_pylist()
    return values


def dressed(number: str, mark: str, separator: str, lead: str) -> str:
    """A number of the grammar as somebody else may write it."""
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    whole, point, decimals = digits.partition(".")
    grouped = f"{int(whole):_}".replace("_", separator)
    return f"{sign or lead}{grouped}{mark if point else ''}{decimals}"


@settings(deadline=None)
@example(["1000"], (",", "."), "")
@given(
    st.lists(numbers, min_size=1, max_size=6),
    st.sampled_from([(".", ","), (",", "."), (".", " "), (",", "\u202f"), (".", "'"), (",", ""), (".", "")]),
    st.sampled_from(["", "+"]),
)
def test_a_dressed_number_is_read_with_its_own_digits(texts: list[str], marks: tuple[str, str], lead: str) -> None:
    mark, separator = marks
    assert read(*(dressed(text, mark, separator, lead) for text in texts), mark=mark) == texts


@pytest.mark.parametrize(
    ("text", "wanted"),
    {
        "007.50": "7.50",
        ".5": "0.5",
        "-.5": "-0.5",
        "5.": "5",
        "1e-05": "0.00001",
        "1.50E+3": "1500" + "",
        " 3 ": "3",
        "null": None,
        "NaN": None,
        "": None,
    }.items(),
)
def test_other_forms(text: str, wanted: str | None) -> None:
    assert read(text) == [wanted]


@pytest.mark.parametrize(
    "text",
    ["x", "1,23", "12,34,567", "1 2", "1.2.3", "--1", "1e", "0x10", "1" * 21, "0." + "1" * 19, "inf", "1,234 567"],
)
def test_what_is_no_number_is_wrong(text: str) -> None:
    field = read_numbers(pyarrow.array([text, "1"]), ".")
    assert field.values.to_pylist() == [None, "1"]
    assert field.wrong is not None
    assert field.wrong.to_pylist() == [True, False]


def test_a_comma_stays_wrong_while_nothing_tells_what_it_means() -> None:
    assert read("5", "1,234", mark="") == ["5", None]
    assert read("5", "1,234", mark=".") == ["5", "1234"]
    assert read("5", "1,234", mark=",") == ["5", "1.234"]


@pytest.mark.parametrize(
    ("texts", "wanted"),
    [
        (["1.5"], "."),
        (["1,5"], ","),
        (["1.234"], "."),
        (["1,234.5"], "."),
        (["1.234,5"], ","),
        (["1,234,567"], "."),
        (["1.234.567"], ","),
        (["0,123"], ","),
        (["1,234", "2.5"], "."),
        (["1,234", "2,5"], ","),
        (["5", "x", ""], ""),
    ],
)
def test_the_mark_is_told_by_the_numbers(texts: list[str], wanted: str) -> None:
    assert infer_mark(texts) == wanted


@pytest.mark.parametrize("texts", [["1,234"], ["1,234", "5,678"], ["1.5", "1,5"]])
def test_marks_that_may_mean_both_are_refused(texts: list[str]) -> None:
    with pytest.raises(WrongUse, match="--decimal"):
        infer_mark(texts)


@settings(deadline=None)
@given(st.lists(st.from_regex(r"-?(0|[1-9][0-9]{0,11})", fullmatch=True), min_size=1), st.integers(1, 6))
def test_whole_numbers_of_small_parts(texts: list[str], places: int) -> None:
    field = shifted_field(Field(pyarrow.array(texts), pyarrow.array(texts)), places)
    shifted = field.values.to_pylist()
    assert [Decimal(text) for text in shifted] == [Decimal(text).scaleb(-places) for text in texts]
    assert all(len(text.partition(".")[2]) == places for text in shifted)
    assert [parse(text) for text in shifted] == [Decimal(text) for text in shifted]


@settings(deadline=None)
@given(st.lists(numbers, min_size=1), st.sampled_from(["1000000", "100", "0.01", "3"]))
def test_a_product_is_exact_or_wrong(texts: list[str], factor: str) -> None:
    field = multiplied(Field(pyarrow.array(texts), pyarrow.array(texts)), Decimal(factor))
    exact = Context(prec=60)
    for text, product in zip(texts, field.values.to_pylist(), strict=True):
        assert product is not None
        assert Decimal(product) == exact.multiply(Decimal(text), Decimal(factor))


def test_a_product_with_too_many_digits_is_wrong() -> None:
    field = multiplied(Field(pyarrow.array(["99999999999999999999", "1"]), pyarrow.array(["", ""])), Decimal(10))
    assert field.values.to_pylist() == [None, "10"]
    assert field.wrong is not None
