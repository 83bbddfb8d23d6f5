"""What Vault Agent's log means; the lines are those of Vault 1.19. tests/vault has the real thing write them."""

from __future__ import annotations

import json

import pytest

from crowetrade_agents.credentials.vault_agent import Problem, follow

PATH, ROLE = "secret/data/venues/a", "venue-a"
URL = f"https://vault:8200/v1/{PATH}"
RECEIVED = json.dumps({"@level": "debug", "@message": f"(runner) receiving dependency vault.read({PATH})"})
LOGGED_IN = json.dumps({"@level": "info", "@message": "authentication successful, sending token to sinks"})


def view(text: str) -> str:
    message = f'(view) vault.read({PATH}): vault.read({PATH}): {text} (retry attempt 1 after "250ms")'
    return json.dumps({"@level": "warn", "@message": message})


def login(text: str) -> str:
    return json.dumps({"@level": "error", "@message": "error authenticating", "error": text, "backoff": "1s"})


def answer(code: int, *errors: str) -> str:
    said = "\n\n".join(f"* {error}" for error in errors)
    return f"Error making API request.\n\nURL: GET {URL}\nCode: {code}. Errors:\n\n{said}"


SEALED = view(answer(503, "Vault is sealed"))
DENIED = view(answer(403, "1 error occurred:\n\t* permission denied\n\n"))
LINES: dict[str, tuple[list[str], str, str]] = {
    "sealed": ([SEALED], "VaultSealed", "Vault at https://vault:8200 is sealed: unseal it"),
    "sealed at the login": ([login(answer(503, "Vault is sealed"))], "VaultSealed", "unseal it"),
    "denied": ([DENIED], "VaultAccessDenied", f"denies reading {PATH} (permission denied): give the role a policy"),
    "a deleted secret": ([view(f"no secret exists at {PATH}")], "VaultSecretMissing", f"no secret at {PATH}"),
    "no such role": (
        [login(answer(400, 'invalid role name "venue-a"'))],
        "VaultLoginRefused",
        'login with role venue-a (invalid role name "venue-a"): bind the role',
    ),
    "nobody listens": (
        [view(f'Get "{URL}": dial tcp 10.0.0.1:8200: connect: connection refused')],
        "VaultUnreachable",
        "Vault at https://vault:8200 cannot be reached",
    ),
    "an unknown authority": (
        [login(f'Put "{URL}": tls: failed to verify certificate: x509: certificate signed by unknown authority')],
        "VaultCertificateRefused",
        "does not trust the certificate of Vault at https://vault:8200",
    ),
    "another status": ([view(answer(429, "too many requests"))], "VaultUnreachable", "HTTP status 429 (too many"),
    "the last that is said counts": ([SEALED, DENIED], "VaultAccessDenied", "denies"),
    "a login does not mean that the secret can be read": ([DENIED, LOGGED_IN], "VaultAccessDenied", "denies"),
    "other lines say nothing": ([SEALED, '{"@message": "renewed auth token"}'], "VaultSealed", "sealed"),
    "lines that are none say nothing": ([SEALED, "", "half a li", "[]", '"text"'], "VaultSealed", "sealed"),
}


@pytest.mark.parametrize("case", LINES)
def test_what_is_wrong(case: str) -> None:
    lines, reason, words = LINES[case]
    problem = follow(None, lines, PATH, ROLE)
    assert problem is not None
    assert problem.reason == reason
    assert words in problem.text


@pytest.mark.parametrize(
    "lines",
    [[], [RECEIVED], [SEALED, RECEIVED], [login("x"), LOGGED_IN], [DENIED, login("x"), LOGGED_IN, RECEIVED]],
)
def test_what_is_right(lines: list[str]) -> None:
    assert follow(None, lines, PATH, ROLE) is None


def test_what_was_wrong_stays_until_something_else_is_said() -> None:
    before = Problem("VaultSealed", "x")
    assert follow(before, ["nothing"], PATH, ROLE) is before


def test_only_so_much_is_quoted() -> None:
    problem = follow(None, [login(answer(400, "x" * 5000))], PATH, ROLE)
    assert problem is not None
    assert len(problem.text) < 500
