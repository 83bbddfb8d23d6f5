"""Takes out of texts and objects what may be a key, before they leave the cluster. Pure.

What looks like a key goes, whether it is one or not: a bundle is read by strangers.
"""

from __future__ import annotations

import re
from typing import Any

REDACTED = "REDACTED"
_NAMES = r"(?:pass(?:word|wd|phrase)|secret|token|api[-_]?key|private[-_]?key|access[-_]?key|authorization|credential)"
_SECRET_NAME = re.compile(rf"(?:^|[-_.]){_NAMES}(?:$|[-_.])|{_NAMES}$", re.IGNORECASE)
_PATTERNS = (
    # A private key in PEM, escaped or not.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL), REDACTED),
    # JWTs (RFC 7519), of service accounts and of NATS.
    (re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), REDACTED),
    # Vault's tokens, and NATS's seeds and nkeys that sign.
    (re.compile(r"\bhv[sbr]\.[A-Za-z0-9_-]{8,}"), REDACTED),
    (re.compile(r"\bS[OAUNC][A-Z2-7]{56}\b"), REDACTED),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}"), rf"\1 {REDACTED}"),
    # User and password of an address.
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), REDACTED),
    # name=value and "name": "value" in logs.
    (
        re.compile(rf"(?i)\b({_NAMES})(\\?[\"']?\s*[:=]\s*)(\\?\"(?:[^\"\\]|\\.)*?\\?\"|'[^']*'|[^\s,;&\"'}}]+)"),
        rf"\1\2{REDACTED}",
    ),
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def redacted(text: str) -> str:
    """The text without what looks like a key."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def redacted_object(item: Any) -> Any:
    """A stored object without what looks like a key: values of env and of fields so named, and in texts.

    Left out: managedFields and kubectl's copy of what was applied, which nobody needs twice; all values of a Secret.
    """
    if isinstance(item, dict):
        if item.get("kind") == "Secret":
            hidden = {
                field: dict.fromkeys(item[field] or {}, REDACTED) for field in ("data", "stringData") if field in item
            }
            return {**redacted_object({**item, "kind": ""}), **hidden, "kind": "Secret"}
        kept = {key: value for key, value in item.items() if key not in ("managedFields", _LAST_APPLIED)}
        if isinstance(kept.get("value"), str) and _SECRET_NAME.search(str(kept.get("name", ""))):
            kept["value"] = REDACTED
        return {
            key: REDACTED if isinstance(value, str) and _SECRET_NAME.search(key) else redacted_object(value)
            for key, value in kept.items()
        }
    if isinstance(item, list):
        return [redacted_object(one) for one in item]
    return redacted(item) if isinstance(item, str) else item
