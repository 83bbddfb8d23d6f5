"""Why Vault Agent does not get the keys, out of its own log (JSON lines, level debug). Pure.

Vault Agent tells nobody else: it goes on trying, and the file that it rendered last stays. What it could read it says
at each refresh ("receiving dependency"), so the last line that says anything holds. Of its lines only Vault's own
errors are quoted, and of those the first 200 characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crowetrade_api.reasons import Reason

_CODE = re.compile(r"^Code: (\d{3})\b", re.MULTILINE)
_URL = re.compile(r"\bhttps?://[^/\s\"]+")
_SAID = re.compile(r"^\s*\* (.+)$", re.MULTILINE)
_RETRY = re.compile(r" \(retry attempt .*$")
_ERRORS_COUNTED = re.compile(r"^\d+ errors? occurred:$")
_UNTRUSTED = re.compile(r"\bx509: |\btls: ")
MAX_QUOTED = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and what to do about it. `login`: a login failed, not the reading of the secret."""

    reason: str
    text: str
    login: bool = False


def follow(problem: Problem | None, lines: Iterable[str], path: str, role: str) -> Problem | None:
    """What is wrong after these lines of the log, when `problem` was before them."""
    for line in lines:
        entry = _entry(line)
        message = str(entry.get("@message", ""))
        if message.startswith("(runner) receiving dependency"):
            problem = None
        elif message.startswith("authentication successful"):
            problem = None if problem is not None and problem.login else problem
        elif message.startswith("(view) "):
            problem = _of_reading(message, path)
        elif message == "error authenticating":
            problem = _of_login(str(entry.get("error", "")), role)
    return problem


def _entry(line: str) -> dict[str, Any]:
    """A line that is none, as one that was cut off when the log was begun again, says nothing."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _of_reading(text: str, path: str) -> Problem:
    if "no secret exists at" in text:
        said = f"Vault has no secret at {path}, or its last version is deleted: write it, or correct the path"
        return Problem(Reason.VAULT_SECRET_MISSING, said)
    if _code(text) == 400:
        said = f"Vault makes no credentials at {path}{_quoted(text)}: correct the path, or make the engine's role"
        return Problem(Reason.VAULT_SECRET_MISSING, said)
    if _code(text) == 403:
        said = f"Vault denies reading {path}{_quoted(text)}: give the role a policy with capability read on {path}"
        return Problem(Reason.VAULT_ACCESS_DENIED, said)
    return _of_server(text, login=False)


def _of_login(text: str, role: str) -> Problem:
    if _code(text) in (400, 403, 404):
        said = (
            f"Vault refuses the login with role {role}{_quoted(text)}: bind the role to the gateway's service account, "
            "with audience vault"
        )
        return Problem(Reason.VAULT_LOGIN_REFUSED, said, login=True)
    return _of_server(text, login=True)


def _of_server(text: str, *, login: bool) -> Problem:
    """What concerns Vault itself and not what was asked of it."""
    server = found.group(0) if (found := _URL.search(text)) else "its address"
    code = _code(text)
    if code == 503 and "sealed" in text:
        return Problem(Reason.VAULT_SEALED, f"Vault at {server} is sealed: unseal it", login)
    if _UNTRUSTED.search(text):
        said = (
            f"Vault Agent does not trust the certificate of Vault at {server}, or Vault not the connection: check "
            "vault.caSecret and vault.serverName of the chart"
        )
        return Problem(Reason.VAULT_CERTIFICATE_REFUSED, said, login)
    if code:
        said = f"Vault at {server} answers with HTTP status {code}{_quoted(text)}: see Vault's own log"
        return Problem(Reason.VAULT_UNREACHABLE, said, login)
    said = f"Vault at {server} cannot be reached: check that it runs, vault.address, and what is between"
    return Problem(Reason.VAULT_UNREACHABLE, said, login)


def _code(text: str) -> int:
    found = _CODE.search(text)
    return int(found.group(1)) if found else 0


def _quoted(text: str) -> str:
    said = [_RETRY.sub("", item).strip() for item in _SAID.findall(text)]
    told = "; ".join(item for item in said if not _ERRORS_COUNTED.match(item))
    return f" ({told[:MAX_QUOTED]})" if told else ""
