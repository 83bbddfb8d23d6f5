"""CEL expressions about one value, `self`.

The library is the CEL project's own, around its C++ implementation: like the API server's it matches with RE2, where
the `$` of Python's re admits a line break and its `\\d` any script's digits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from cel_expr_python import cel


def evaluated(expression: str, value: Any) -> tuple[Any, str]:
    """The result, or why there is none."""
    result = _compiled(expression).eval(data={"self": value})
    if result.type() == cel.Type.ERROR:
        return None, _in_the_words_of_go(str(result.value()), value)
    return result.plain_value(), ""


def _in_the_words_of_go(trouble: str, value: Any) -> str:
    """The API server's library asks Go for a time zone."""
    return f"unknown time zone {value}" if "Invalid timezone" in trouble else trouble


def matches(pattern: str, text: str) -> bool:
    """Whether the RE2 pattern occurs in the text."""
    result, _ = evaluated("self[0].matches(self[1])", [text, pattern])
    return result is True


@cache
def _compiled(expression: str) -> cel.Expression:
    return _environment().compile(expression)


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(variables={"self": cel.Type.DYN})
