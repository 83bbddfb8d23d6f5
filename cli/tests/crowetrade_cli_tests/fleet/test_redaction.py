"""What looks like a key does not leave; what helps stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_cli.fleet.redaction import REDACTED, redacted, redacted_object

CANARY = "c4n4ry-0f-7h3-k3y"


@pytest.mark.parametrize(
    "text",
    [
        f"password={CANARY}",
        f"logging on with api_key: {CANARY}, then",
        json.dumps({"event": "x", "secret": CANARY}),
        json.dumps({"msg": json.dumps({"token": CANARY})}),
        f"Authorization: Bearer {CANARY}",
        f"nats://operator:{CANARY}@nats.svc:4222",
        f"X-Vault-Token: {CANARY}",
        f"hvs.{CANARY}",
        f"eyJhbGciOiJSUzI1NiJ9.{CANARY}.{CANARY}",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
        f"-----BEGIN EC PRIVATE KEY-----\\n{CANARY}\\n-----END EC PRIVATE KEY-----",
        f"passphrase: '{CANARY}'",
    ],
)
def test_a_key_in_a_text_goes(text: str) -> None:
    assert CANARY not in redacted(text)
    assert REDACTED in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"event": "order_refused", "reason": "MaxPosition", "fencing_token": 7}',
        "https://vault.vault.svc:8200 does not answer",
        "the ConfigMap fx/strategy-ema has no key strategy.json",
        "secretRef names fx/venue-keys",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redacted(text) == text


def test_an_object() -> None:
    item = {
        "kind": "Pod",
        "metadata": {
            "name": "venue-sim-fx",
            "managedFields": [{}],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": CANARY,
                "note": f"password={CANARY}",
            },
        },
        "spec": {
            "containers": [
                {
                    "env": [
                        {"name": "API_KEY", "value": CANARY},
                        {"name": "DB_PASSWORD", "value": CANARY},
                        {"name": "NATS_URL", "value": "nats://nats.svc:4222"},
                    ],
                    "args": [f"--token={CANARY}"],
                }
            ],
            "credentials": {"vault": {"path": "venues/sim-fx", "keys": {"apiKey": "api-key"}}},
        },
    }
    kept = redacted_object(item)
    assert CANARY not in json.dumps(kept)
    assert "managedFields" not in kept["metadata"]
    assert kept["spec"]["containers"][0]["env"][2]["value"] == "nats://nats.svc:4222"
    assert kept["spec"]["credentials"]["vault"]["path"] == "venues/sim-fx"


def test_a_secret_keeps_its_keys_alone() -> None:
    kept = redacted_object({"kind": "Secret", "metadata": {"name": "x"}, "data": {"a": CANARY, "b": CANARY}})
    assert kept == {"kind": "Secret", "metadata": {"name": "x"}, "data": {"a": REDACTED, "b": REDACTED}}


@given(
    st.text(alphabet="abcdefgh0123456789-_", min_size=8, max_size=40), st.sampled_from(["token", "password", "apiKey"])
)
def test_whatever_the_key_is(key: str, name: str) -> None:
    for text in (f"{name}={key}", json.dumps({name: key}), f"{name}: {key} ends", f"x {name}='{key}'"):
        assert key not in redacted(text).replace(name, "")
