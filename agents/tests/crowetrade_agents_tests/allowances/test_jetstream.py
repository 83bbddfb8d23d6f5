"""Shares through a real NATS server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal

import pytest
from nats.js.api import KeyValueConfig

from crowetrade import subjects
from crowetrade_agents.allowances.jetstream import JetStreamLedgers
from crowetrade_agents.allowances.ledger import WHOLE, Entry, Share, decode, encode
from crowetrade_agents.errors import LedgerUnavailable

from ..journal.conftest import Server, server
from .fleet import NAMESPACE, WAIT_SECONDS, Member, closing, connect, fleet, served, until

__all__ = ["server"]
pytestmark = pytest.mark.integration
PART = 2_000_000
"""EUR-USD that use a fifth of the limit."""


async def test_a_ledger_is_exchanged_when_nobody_was_faster(server: Server) -> None:
    async with fleet(server.url, 0) as _, closing(await connect(server.url)) as client:
        ledgers, others = JetStreamLedgers(client, NAMESPACE), JetStreamLedgers(client, NAMESPACE)
        assert await ledgers.read(["u1"]) == {"u1": Entry()}
        assert list(await ledgers.uids()) == []
        payload = encode({"maxOrderRate": {"a": Share(1, 2, 3)}})
        revision = await ledgers.exchange("u1", 0, payload)
        assert revision is not None
        assert await others.exchange("u1", 0, b"") is None
        assert await others.read(["u1"]) == {"u1": Entry(revision, payload)}
        assert list(await others.uids()) == ["u1"]
        await client.flush()
        assert ledgers.heard.is_set()
        assert ledgers.changed() == {"u1"}


async def test_a_bucket_that_is_missing_is_said(server: Server) -> None:
    async with closing(await connect(server.url)) as client:
        with pytest.raises(LedgerUnavailable, match="operator has made the bucket crowetrade-allowances"):
            await JetStreamLedgers(client, NAMESPACE).uids()


@pytest.mark.parametrize("number", [2, 5])
async def test_one_gateway_with_all_the_demand_gets_nine_tenths(
    server: Server, number: int, record_property: Callable[[str, object], None]
) -> None:
    async with fleet(server.url, number) as members:
        await until(lambda: all(member.share == Decimal(1) / number for member in members), members)
        busy = members[-1]
        assert busy.order(9_000_000) == "< REJECTED MaxGrossNotional"
        began = time.monotonic()
        await until(lambda: busy.share >= Decimal("0.9"), members)
        took = time.monotonic() - began
        assert busy.order(9_000_000) == "< PENDING_NEW"
        # What one of five can use: `risk.shares.usable`, and how soon.
        record_property("usable", str(busy.share))
        record_property("milliseconds", round(took * 1000))
        assert sum(member.share for member in members) <= 1
        # The demand moves on.
        busy.close()
        assert members[0].order(9_000_000) == "< REJECTED MaxGrossNotional"
        await served(members[0], 9_000_000, members)


async def test_a_gateway_without_the_ledger_keeps_what_it_has_and_gets_no_more(server: Server) -> None:
    async with fleet(server.url, 2) as members:
        await until(lambda: all(member.share == Decimal("0.5") for member in members), members)
        server.freeze()
        for member in members:
            assert member.order(2 * PART) == "< PENDING_NEW"
            assert member.order(2 * PART) == "< REJECTED MaxGrossNotional"
        # Asked in vain, and more than once.
        await until(lambda: all(member.keeper.failures >= 2 for member in members), members)
        assert [member.share for member in members] == [Decimal("0.5")] * 2
        server.thaw()
        members[1].close()
        await served(members[0], 2 * PART, members)
        assert members[0].used + members[1].used <= 1


async def test_one_gateway_is_cut_off_and_comes_back(server: Server) -> None:
    async with fleet(server.url, 3) as members:
        lost, busy, other = members
        await until(lambda: all(member.share >= Decimal("0.333333") for member in members), members)
        assert lost.order(3_000_000) == "< PENDING_NEW"
        await lost.client.close()
        assert busy.order(9_000_000).startswith("< REJECTED")
        # The rest of what there is, but nothing of what the lost one holds.
        await served(busy, 6_000_000, members)
        assert lost.share >= Decimal("0.333333")
        assert other.share > 0
        # It is back, and gives what it does not use.
        await lost.stop()
        back = members[0] = Member("v0", await connect(server.url), ["v0", "v1", "v2"], fencing_token=2)
        await back.configure()
        await served(busy, 3_000_000, members)


async def test_ledgers_that_are_lost_are_begun_again_and_together_nobody_has_more_than_the_whole(
    server: Server,
) -> None:
    """As when the pod of NATS is gone, and its disk with it. What is in use stays so (the journal is lost as well, so
    its gateway halts and cancels), and nobody is admitted more by two ledgers than by one."""
    async with fleet(server.url, 2) as members:
        idle, busy = members
        await until(lambda: all(member.share == Decimal("0.5") for member in members), members)
        assert busy.order(9_000_000).startswith("< REJECTED")
        await served(busy, 9_000_000, members)
        assert busy.share >= Decimal("0.9")
        jetstream = busy.client.jetstream()
        await jetstream.delete_key_value(subjects.ALLOWANCE_BUCKET)
        await jetstream.create_key_value(KeyValueConfig(bucket=subjects.ALLOWANCE_BUCKET, history=1))
        ledgers = JetStreamLedgers(busy.client, NAMESPACE)

        async def written() -> dict[str, int]:
            payload = (await ledgers.read(["uid-fleet"]))["uid-fleet"].payload
            shares = decode(payload).get("maxGrossNotional", {})
            return {venue: share.held for venue, share in shares.items()}

        async with asyncio.timeout(WAIT_SECONDS):
            while len(held := await written()) < 2 or sum(member.share for member in members) > 1:
                await asyncio.sleep(0.01)
        assert sum(held.values()) <= WHOLE
        assert idle.order(10_000_000).startswith("< REJECTED")
        assert busy.order(2_000_000).startswith("< REJECTED")


async def test_a_process_that_starts_has_what_the_ledger_says_and_only_after_it_has_signed(server: Server) -> None:
    async with fleet(server.url, 2) as members:
        busy = members[0]
        busy.order(9_000_000)
        await until(lambda: busy.share >= Decimal("0.9"), members)
        held = busy.share
        await busy.stop()
        again = Member("v0", await connect(server.url), ["v0", "v1"], fencing_token=7)
        members[0] = again
        assert again.share == 0
        await again.configure()
        assert again.share == held
        entry = (await JetStreamLedgers(again.client, NAMESPACE).read(["uid-fleet"]))["uid-fleet"]
        assert decode(entry.payload)["maxGrossNotional"]["v0"].fencing_token == 7


async def test_a_gateway_that_starts_without_the_ledger_serves_with_nothing(server: Server) -> None:
    client = await connect(server.url)
    member = Member("v0", client, ["v0", "v1"])
    await member.configure()
    assert member.order(1000) == "< REJECTED ShareUnknown"
    await client.jetstream().create_key_value(bucket=subjects.ALLOWANCE_BUCKET)
    await until(lambda: member.share == Decimal("0.5"), [member])
    assert member.order(1000) == "< PENDING_NEW"
    await member.stop()


async def test_a_new_limit_waits_for_as_much_as_is_in_use_but_not_for_what_others_use(server: Server) -> None:
    async with fleet(server.url, 2) as members:
        first, second = members
        await served(first, 9_000_000, members)
        # It starts again under a limit of another name, as after a RiskLimit that was made again.
        for member, most in ((second, 1), (first, 10)):
            member.rename("anew")
            began = time.monotonic()
            await member.configure()
            assert time.monotonic() - began < most
        assert first.share_of("anew") >= Decimal("0.9")
        assert not first.cancelled
