"""What one process may use by what it knows of the ledger."""

from __future__ import annotations

import pytest

from crowetrade_agents.allowances.holder import Exchange, Holder, Needs
from crowetrade_agents.allowances.ledger import WHOLE, Entry, Share, decode, encode
from crowetrade_agents.allowances.split import Need, Yield
from crowetrade_agents.errors import LedgerUnreadable

UID, LIMIT = "u1", "maxOrderRate"
KEY = (UID, LIMIT)


def entry(revision: int, **shares: Share) -> Entry:
    return Entry(revision, encode({LIMIT: shares}))


def needs(need: Need, gateways: int = 2) -> dict[str, Needs]:
    return {UID: Needs(gateways, {LIMIT: need})}


def only(exchanges: list[Exchange]) -> Exchange:
    (exchange,) = exchanges
    return exchange


def written(exchange: Exchange) -> dict[str, Share]:
    return dict(decode(exchange.payload)[LIMIT])


def test_nothing_is_usable_before_the_process_has_written_itself() -> None:
    holder = Holder("a", 2)
    holder.read(UID, entry(7, a=Share(600_000, 0, 1), b=Share(400_000, 0, 1)))
    assert holder.usable() == {}
    exchange = only(holder.exchanges(needs(Need()), {}))
    assert (exchange.revision, written(exchange)["a"]) == (7, Share(600_000, 0, 2))
    holder.sent(exchange)
    assert holder.usable() == {}
    holder.accepted(exchange, 8)
    assert holder.usable() == {KEY: 600_000}
    assert holder.exchanges(needs(Need()), {KEY: 600_000}) == []


def test_a_process_that_was_overtaken_uses_nothing_and_writes_nothing() -> None:
    holder = Holder("a", 1)
    holder.read(UID, entry(8, a=Share(600_000, 0, 2)))
    assert holder.usable() == {}
    assert holder.exchanges(needs(Need(demanded=WHOLE)), {}) == []


def test_what_is_given_back_is_used_no_more_before_and_after_an_answer_that_does_not_come() -> None:
    holder = Holder("a", 1)
    holder.read(UID, entry(3, a=Share(WHOLE, 0, 1), b=Share(0, 500_000, 1)))
    assert holder.kept(needs(Need())) == {KEY: 500_000}
    exchange = only(holder.exchanges(needs(Need()), {KEY: 500_000}))
    assert written(exchange)["a"] == Share(500_000, 0, 1)
    holder.sent(exchange)
    holder.read(UID, entry(3, a=Share(WHOLE, 0, 1), b=Share(0, 500_000, 1)))
    assert holder.usable() == {KEY: 500_000}
    # It did not happen, and somebody else was faster: now it never will.
    holder.read(UID, entry(4, a=Share(WHOLE, 0, 1), b=Share(0, 0, 1)))
    assert holder.usable() == {KEY: WHOLE}


def test_an_exchange_without_an_answer_is_written_again() -> None:
    holder = Holder("a", 1)
    holder.read(UID, entry(3, a=Share(WHOLE, 0, 1)))
    lost = Exchange(UID, 3, b"", {LIMIT: Share(0, 0, 1)})
    holder.sent(lost)
    assert holder.usable() == {KEY: 0}
    again = only(holder.exchanges(needs(Need(), 1), {KEY: 0}))
    holder.sent(again)
    holder.accepted(again, 4)
    assert holder.usable() == {KEY: WHOLE}


def test_what_is_in_use_stays_in_the_ledger_until_it_is_over() -> None:
    holder = Holder("a", 1)
    holder.read(UID, entry(3, a=Share(900_000, 0, 1), b=Share(100_000, 400_000, 1)))
    rate = needs(Need(used=900_000, yields=Yield.ALL))
    assert holder.kept(rate) == {KEY: 500_000}
    assert written(only(holder.exchanges(rate, {KEY: 880_000})))["a"].held == 880_000
    assert written(only(holder.exchanges(rate, {KEY: 500_000})))["a"].held == 500_000


def test_an_older_ledger_than_was_known_gives_nothing_until_it_is_written_again() -> None:
    holder = Holder("a", 1)
    holder.read(UID, entry(9, a=Share(200_000, 0, 1)))
    holder.read(UID, entry(5, a=Share(900_000, 0, 1)))
    assert holder.usable() == {}
    holder.read(UID, entry(9, a=Share(200_000, 0, 1), b=Share(700_000, 0, 1)))
    assert holder.usable() == {}
    exchange = only(holder.exchanges(needs(Need()), {KEY: 0}))
    holder.sent(exchange)
    holder.accepted(exchange, 10)
    assert holder.usable() == {KEY: 300_000}


def test_a_gateway_that_leaves_is_not_written_down_again_once_it_was_taken_out() -> None:
    holder = Holder("a", 1)
    holder.read(UID, entry(3, b=Share(100_000, 0, 1)))
    assert holder.exchanges(needs(Need(used=5, leaving=True)), {}) == []


def test_a_rule_that_does_not_bind_here_any_more_gives_everything_back() -> None:
    holder = Holder("a", 1)
    holder.read(UID, entry(3, a=Share(900_000, 0, 1), b=Share(100_000, 0, 1)))
    assert holder.kept({}) == {KEY: 0}
    assert written(only(holder.exchanges({}, {}))) == {"b": Share(100_000, 0, 1)}


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (b"\xff", "it is not an Allowances message"),
        (encode({LIMIT: {"a": Share(600_000, 0, 1), "b": Share(400_001)}}), "gateways hold 1000001 millionths of"),
        (encode({LIMIT: {"a": Share(1, 0, 1)}}) * 2, "it splits maxOrderRate twice"),
    ],
)
def test_a_ledger_that_cannot_be_read_gives_nothing_and_is_not_replaced(payload: bytes, sentence: str) -> None:
    with pytest.raises(LedgerUnreadable, match=sentence):
        decode(payload)
    holder = Holder("a", 1)
    holder.read(UID, Entry(1, payload))
    assert sentence in holder.problems[UID]
    assert holder.usable() == {}
    assert holder.exchanges(needs(Need()), {}) == []
