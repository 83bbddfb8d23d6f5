"""What a bus lacks is named, and what it does not say is named, too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crowetrade import subjects
from crowetrade_api.reasons import Reason
from crowetrade_operator.authorizer.permissions import permissions
from crowetrade_operator.bus.facts import gather
from crowetrade_operator.bus.requirements import Facts, Server, allows, faults, matches
from crowetrade_operator.bus.streams import ensure_bucket
from crowetrade_operator.settings import StreamSettings
from crowetrade_operator_tests.servers import nats_client
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.roles import Peer, PeerRole

OPERATOR = permissions(IdentityName("crowetrade.local", "system", "crowetrade-operator"), Peer(PeerRole.OPERATOR))
assert OPERATOR is not None
RIGHTS = {"publish": {"allow": list(OPERATOR.publish)}, "subscribe": {"allow": list(OPERATOR.subscribe)}}
MIB = 1024 * 1024
SYNCS = Server(MIB, sync_always=True)
GOOD = Facts(MIB, {"nats-0": SYNCS}, 8_000_000_000, RIGHTS, identified=True)


@pytest.mark.parametrize(
    ("facts", "reason", "words"),
    [
        (replace(GOOD, servers=None), Reason.BUS_SETTINGS_UNREADABLE, "syncs every write to disk cannot be read"),
        (
            replace(GOOD, servers={"nats-0": Server(MIB, sync_always=None)}),
            Reason.BUS_SETTINGS_UNREADABLE,
            "syncs every write to disk cannot be read",
        ),
        (
            replace(GOOD, servers={"nats-0": Server(MIB, sync_always=False)}),
            Reason.BUS_WRITES_NOT_SYNCED,
            "NATS acknowledges a write before it is on disk, so a crash may lose orders: set jetstream.sync",
        ),
        (
            replace(GOOD, servers={"nats-0": SYNCS, "nats-1": SYNCS, "nats-2": Server(MIB, sync_always=False)}),
            Reason.BUS_WRITES_NOT_SYNCED,
            "NATS server nats-2 acknowledges a write before it is on disk",
        ),
        (
            replace(GOOD, servers={"nats-0": SYNCS, "nats-1": Server(4096, sync_always=True)}),
            Reason.BUS_LIMITS_MISSING,
            "NATS server nats-1 takes messages of at most 4096 bytes",
        ),
        (
            replace(GOOD, rolled_up=("KV_crowetrade-allowances",)),
            Reason.BUS_BUCKET_EMPTIED_BY_ONE_KEY,
            "KV_crowetrade-allowances may empty all of it: an administrator of the bus has to set allow_rollup_hdrs",
        ),
        (
            replace(GOOD, servers={"nats-0": Server(65536, sync_always=True)}),
            Reason.BUS_LIMITS_MISSING,
            "NATS takes messages of at most 65536 bytes: set max_payload to 1MB",
        ),
        (replace(GOOD, max_storage=-1), Reason.BUS_LIMITS_MISSING, "may fill the whole store: set max_file"),
        (replace(GOOD, max_storage=None), Reason.BUS_SETTINGS_UNREADABLE, "limits of the operator's account"),
        (replace(GOOD, permissions=None), Reason.BUS_SETTINGS_UNREADABLE, "may do on the bus cannot be read"),
        (replace(GOOD, permissions={}), Reason.BUS_PERMISSIONS_TOO_WIDE, "let NATS ask crowetrade-authorizer"),
        (
            replace(GOOD, permissions={"publish": {"allow": ["$JS.API.STREAM.*.*", "$JS.API.STREAM.LIST"]}}),
            Reason.BUS_PERMISSION_MISSING,
            "may not publish to $KV.crowetrade-config.x",
        ),
    ],
)
def test_what_is_missing_is_named(facts: Facts, reason: Reason, words: str) -> None:
    found = faults(facts)
    assert found[0].reason is reason
    assert words in found[0].text


def test_a_server_without_jetstream_stores_nothing_that_it_would_have_to_sync() -> None:
    assert faults(replace(GOOD, servers={"nats-0": SYNCS, "leaf": Server(MIB, sync_always=None)})) == ()


def test_without_an_answer_of_servers_the_connection_says_how_large_messages_may_be() -> None:
    found = faults(replace(GOOD, servers=None, max_payload=65536))
    assert [fault.reason for fault in found] == [Reason.BUS_SETTINGS_UNREADABLE, Reason.BUS_LIMITS_MISSING]


def test_what_the_authorizer_gives_the_operator_lacks_nothing() -> None:
    assert faults(GOOD) == ()


def test_without_identities_nobody_asks_for_permissions() -> None:
    assert faults(replace(GOOD, identified=False, permissions=None, rolled_up=("KV_crowetrade-kills",))) == ()


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.b", "a.b", True),
    ],
)
def test_wildcards_are_those_of_nats(pattern: str, subject: str, expected: bool) -> None:
    assert matches(pattern, subject) is expected


def test_what_is_denied_is_not_allowed() -> None:
    assert not allows({"publish": {"deny": ["a.>"]}}, "a.b")
    assert allows({"publish": {"deny": ["a.>"]}}, "b")


@pytest.mark.integration
async def test_a_server_as_it_comes_lacks_what_is_relied_upon(nats_url: str) -> None:
    async with nats_client(nats_url) as client:
        found = {fault.reason for fault in faults(await gather(client, identified=False))}
    assert found == {Reason.BUS_SETTINGS_UNREADABLE, Reason.BUS_LIMITS_MISSING}


@pytest.mark.integration
async def test_a_bucket_of_an_earlier_version_is_named_until_an_administrator_has_changed_it(nats_url: str) -> None:
    async with nats_client(nats_url) as client:
        jetstream = client.jetstream()
        for bucket in (subjects.KILL_BUCKET, subjects.ALLOWANCE_BUCKET):
            await jetstream.create_key_value(bucket=bucket)
        await ensure_bucket(jetstream, subjects.CONFIG_BUCKET, StreamSettings())
        before = (await gather(client, identified=False)).rolled_up
        assert before == ("KV_crowetrade-kills", "KV_crowetrade-allowances")
        for name in before:
            config = (await jetstream.stream_info(name)).config
            await jetstream.update_stream(config.evolve(allow_rollup_hdrs=False, deny_purge=True))
        assert (await gather(client, identified=False)).rolled_up == ()
