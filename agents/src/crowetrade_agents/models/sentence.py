"""Turns what pydantic found into one sentence that a person can act on."""

from __future__ import annotations

from pydantic import ValidationError


def validation_sentence(error: ValidationError, prefix: str = "") -> str:
    """All findings, `path: what is wrong (got value)`, joined by semicolons."""
    findings = []
    for finding in error.errors(include_url=False):
        path = ".".join([*([prefix] if prefix else []), *(str(part) for part in finding["loc"])])
        message = finding["msg"].removeprefix("Value error, ")
        got = "" if finding["type"] in ("missing", "value_error") else f" (got {finding['input']!r})"
        findings.append(f"{path}: {message}{got}" if path else f"{message}{got}")
    return "; ".join(findings)
