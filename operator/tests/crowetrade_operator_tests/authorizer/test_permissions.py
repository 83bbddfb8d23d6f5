"""Promises about permissions that hold for all names; and what is refused before anybody is asked."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crowetrade import subjects
from crowetrade_operator.authorizer.jwt import UnreadableRequest, allow, read_request, refuse
from crowetrade_operator.authorizer.keys import ISSUER_SEED, USER_KEY, USER_SEED, Seeds, pair
from crowetrade_operator.authorizer.permissions import Account, Permissions, permissions
from crowetrade_operator.authorizer.settings import read_settings
from crowetrade_operator.bus.requirements import matches
from crowetrade_operator.errors import SettingsError
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.roles import peer_named

SYSTEM = "crowetrade-system"
ALICE = IdentityName("crowetrade.local", "people", "alice")
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
ACCOUNTS = st.one_of(
    LABELS,
    LABELS.map("venue-{}".format),
    LABELS.map("strategy-{}".format),
    st.tuples(LABELS, LABELS).map(".".join),
    st.sampled_from(["crowetrade-operator", "crowetrade-risk-auditor", "crowetrade-authorizer", "nats"]),
)
IDENTITIES = st.builds(IdentityName, st.just("crowetrade.local"), LABELS | st.just(SYSTEM), ACCOUNTS)
DELETING = [
    f"$JS.API.{verb}.{stream}"
    for verb in ("STREAM.DELETE", "STREAM.PURGE", "STREAM.UPDATE", "STREAM.MSG.DELETE", "STREAM.RESTORE")
    for stream in ("CROWETRADE_JOURNAL_desk_sim", "CROWETRADE_SNAPSHOTS_desk_sim", "AUDIT", "KV_crowetrade-config")
]


def granted(identity: IdentityName, *venues: tuple[str, str]) -> Permissions | None:
    return permissions(identity, peer_named(identity, SYSTEM, {ALICE.uri}), venues)


def may(patterns: tuple[str, ...], subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in patterns)


@given(IDENTITIES)
def test_nobody_in_the_account_of_the_data_deletes(identity: IdentityName) -> None:
    found = granted(identity)
    if found is not None:
        assert found.account is Account.DATA
        assert not [subject for subject in DELETING if may(found.publish, subject)]


def test_an_administrator_deletes_by_a_prefix_that_only_their_account_has() -> None:
    found = granted(ALICE)
    assert found is not None
    assert found.account is Account.ADMIN
    assert all(may(found.publish, subject.replace("$JS.API", subjects.ADMIN_API)) for subject in DELETING)
    assert not any(may(found.publish, subject) for subject in DELETING)


@given(IDENTITIES, IDENTITIES)
def test_nobody_reads_or_writes_the_inbox_of_another(one: IdentityName, other: IdentityName) -> None:
    assume(one != other)
    found = granted(one)
    if found is not None:
        inbox = f"{other.inbox_prefix}.x"
        assert not may(found.publish, inbox)
        assert not may(found.subscribe, inbox)


@given(LABELS, LABELS, LABELS, LABELS, LABELS)
def test_a_strategy_reaches_nothing_of_another(namespace: str, strategy: str, venue: str, far: str, rival: str) -> None:
    assume((namespace, strategy) != (far, rival))
    found = granted(IdentityName("crowetrade.local", namespace, f"strategy-{strategy}"), (namespace, venue))
    assert found is not None
    said = [kind(far, rival) for kind in (subjects.features, subjects.signals, subjects.targets)]
    for subject in (*said, subjects.agent_status(far, rival, "combined"), subjects.handshake(far, rival, "signal")):
        assert not may(found.publish, subject)
        assert not may(found.subscribe, subject)
    assert not any(pattern.startswith(("$", "journal.", "md.", "audit.")) for pattern in found.publish)
    assert not any(pattern.startswith("$") for pattern in found.subscribe)
    assert may(found.subscribe, f"md.{namespace}.{venue}.EUR-USD")
    if (far, rival) != (namespace, venue):
        assert not may(found.subscribe, f"md.{far}.{rival}.EUR-USD")


@given(LABELS, LABELS, LABELS, LABELS)
def test_a_gateway_writes_nothing_of_another(namespace: str, venue: str, far: str, other: str) -> None:
    assume((namespace, venue) != (far, other))
    found = granted(IdentityName("crowetrade.local", namespace, f"venue-{venue}"))
    assert found is not None
    for subject in (
        f"md.{far}.{other}.EUR-USD",
        subjects.journal(far, other),
        subjects.journal_snapshot(far, other, 0),
        subjects.gateway_status(far, other),
        subjects.audit(far, f"venue-{other}"),
        f"$JS.API.DIRECT.GET.{subjects.journal_stream(far, other)}",
        subjects.key_subject(subjects.CONFIG_BUCKET, subjects.gateway_config_key(namespace, venue)),
        subjects.key_subject(subjects.KILL_BUCKET, subjects.kill_key(namespace, "stop")),
    ):
        assert not may(found.publish, subject)


@pytest.mark.parametrize("account", ["default", "venue-", "strategy-", "venue-a.b", "strategy-a.b"])
def test_who_is_nobody_may_nothing(account: str) -> None:
    assert granted(IdentityName("crowetrade.local", SYSTEM, account)) is None


@pytest.mark.parametrize("account", ["crowetrade-operator", "crowetrade-authorizer", "nats"])
def test_a_process_of_ours_is_nobody_in_another_namespace(account: str) -> None:
    assert granted(IdentityName("crowetrade.local", "desk", account)) is None


# --- tokens


def token(claims: object) -> bytes:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    return b"e30." + body + b".c2ln"


ASKED = {
    "server_id": {"id": "NSERVER"},
    "user_nkey": "UUSER",
    "client_info": {"id": 7},
    "client_tls": {"verified_chains": [["pem", "ca"]]},
}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"a.b",
        token([]),
        token({"nats": None}),
        token({"nats": {"server_id": {}}}),
        token({"nats": {**ASKED, "client_info": {}}}),
    ],
)
def test_a_request_that_is_none_is_not_answered(data: bytes) -> None:
    with pytest.raises(UnreadableRequest):
        read_request(data)


def test_only_a_chain_that_the_server_has_verified_counts() -> None:
    assert read_request(token({"nats": ASKED})).certificate_pem == "pem"
    unverified = {**ASKED, "client_tls": {"certs": ["pem"]}}
    assert read_request(token({"nats": unverified})).certificate_pem == ""


def test_an_answer_is_bound_to_the_server_the_connection_and_its_certificate_and_names_no_user() -> None:
    issuer, request = pair(Seeds.make().issuer), read_request(token({"nats": ASKED}))
    found = granted(IdentityName("crowetrade.local", "desk", "venue-sim"))
    assert found is not None
    answer = claims_of(allow(request, found, 1_700_003_600, issuer, 1_700_000_000))
    assert (answer["aud"], answer["sub"], answer["iss"]) == ("NSERVER", "UUSER", issuer.public_key.decode())
    user = claims_of(answer["nats"]["jwt"].encode())
    assert (user["aud"], user["sub"], user["exp"]) == ("DATA", "UUSER", 1_700_003_600)
    # It would end the connection when the server reads its configuration again.
    assert "name" not in user
    assert user["nats"]["pub"]["allow"] == list(found.publish)
    refused = claims_of(refuse(request, "Revoked: it is revoked", issuer, 1_700_000_000))["nats"]
    assert (refused["error"], "jwt" in refused) == ("Revoked: it is revoked", False)


def claims_of(signed: bytes) -> Any:
    body = signed.decode().split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


# --- settings


def settings(folder: Path, **changed: str) -> dict[str, str]:
    seeds = Seeds.make().secret() | changed
    for name, text in seeds.items():
        (folder / name).write_text(text)
    return {"NATS_URL": "tls://nats:4222", "AUTHORIZER_KEYS_DIRECTORY": str(folder), "NAMESPACES": "a, b"}


def test_settings_are_read(tmp_path: Path) -> None:
    found = read_settings(settings(tmp_path))
    assert found.namespaces == ("a", "b")
    assert pair(found.seeds.user).public_key.decode() == (tmp_path / USER_KEY).read_text()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({USER_SEED: "SUnonsense"}, "user.seed holds no nkey seed that begins with SU: make the Secret again"),
        ({ISSUER_SEED: Seeds.make().user}, "issuer.seed holds no nkey seed that begins with SA"),
    ],
)
def test_a_seed_that_is_none_is_refused(tmp_path: Path, changed: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_settings(settings(tmp_path, **changed))


def test_what_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="NATS_URL is not set"):
        read_settings({})
    with pytest.raises(SettingsError, match="is the Secret crowetrade-authorizer mounted"):
        read_settings({"NATS_URL": "tls://nats", "AUTHORIZER_KEYS_DIRECTORY": str(tmp_path)})
    with pytest.raises(SettingsError, match="HTTP_PORT is 'x'"):
        read_settings({**settings(tmp_path), "HTTP_PORT": "x"})
