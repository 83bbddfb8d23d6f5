from __future__ import annotations

import pytest

from crowetrade_cli.manifests.go_text import as_json, number, quoted


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (0.5, "0.5"),
        (-0.0001, "-0.0001"),
        (0.00001, "1e-05"),
        (123456.0, "123456"),
        (1234567.0, "1.234567e+06"),
        (1e100, "1e+100"),
        (-1.5e300, "-1.5e+300"),
    ],
)
def test_numbers_are_written_as_go_writes_them(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a"b\\', r'"a\"b\\"'),
        ("\x00\x7f\n", r'"\x00\x7f\n"'),
        ("é\u200b\U0001f600\U000e0001", '"é\\u200b\U0001f600\\U000e0001"'),
    ],
)
def test_strings_are_quoted_as_go_quotes_them(value: str, text: str) -> None:
    assert quoted(value) == text


def test_json_has_its_keys_in_order_and_nothing_that_looks_like_a_tag() -> None:
    assert as_json({"b": "<a>&", "a": [1.0, None, 0.5]}) == r'{"a":[1,null,0.5],"b":"\u003ca\u003e\u0026"}'
