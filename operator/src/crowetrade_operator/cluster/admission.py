"""What the API server says when an admission webhook stands in the way; it has no other form than text. Pure."""

from __future__ import annotations

import re

_DENIED = re.compile(r'admission webhook "([^"]+)" denied the request')
_SILENT = re.compile(r'failed calling webhook "([^"]+)"')


def denied_by(message: str) -> str:
    """The webhook that does not admit the object, whatever HTTP code it chose; empty when none has denied it."""
    found = _DENIED.search(message)
    return found[1] if found else ""


def unanswered_by(message: str) -> str:
    """The webhook that has to be asked and does not answer; empty when there is none."""
    found = _SILENT.search(message)
    return found[1] if found else ""
