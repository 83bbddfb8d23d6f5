"""What is new in a message, compared with the one before of the same sender. Pure.

Figures (positions, PnL, counters) change with every message, and whoever reads a status can wait for them. Everything
else, what these functions do not know included, may change a condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.protobuf.message import Message

from crowetrade.bus.v1 import status_pb2

_OF_ACCOUNTS = frozenset({"accounts"})
_GATEWAY_FIGURES = frozenset({"journal_sequence", "positions", "utilisation", "throttled_total", "latency_p99_micros"})
_ACCOUNT_FIGURES = frozenset({"positions", "sent_total", "filled_total", "rejected_total", "open_orders"})
# A quote comes with almost every message, and no status has how many there were.
_IGNORED = frozenset({"sent_unix_ns", "market_data_sequence"})
_AGENT_FIGURES = frozenset({"last_signal_unix_ns", "problems"})
MANY_REFUSALS = 2
"""More of them in a row are no news: the figures have how many."""


class News(Enum):
    """How much of a message is new."""

    NOTHING = 0
    # What a reader of a status can wait for.
    FIGURES = 1
    # What may change a condition.
    STATE = 2


@dataclass(frozen=True, slots=True)
class GatewayNews:
    """What is new in a gateway's message."""

    # Of the gateway itself, its session, its configuration and its limits: it concerns all who trade there.
    gateway: News = News.STATE
    # By what the gateway calls a Strategy: what is new in its account.
    accounts: Mapping[str, News] | None = None

    def __bool__(self) -> bool:
        return self.gateway is not News.NOTHING or bool(self.accounts)


def gateway_news(before: status_pb2.GatewayStatus | None, after: status_pb2.GatewayStatus) -> GatewayNews:
    """What is new; everything, for the first message."""
    known = {account.strategy: account for account in before.accounts} if before is not None else {}
    accounts = {
        account.strategy: found
        for account in after.accounts
        if (found := _account_news(known.pop(account.strategy, None), account)) is not News.NOTHING
    }
    accounts |= dict.fromkeys(known, News.STATE)
    gateway = News.STATE if before is None else _news(before, after, _GATEWAY_FIGURES, _OF_ACCOUNTS | _IGNORED)
    return GatewayNews(gateway, accounts)


def agent_news(before: status_pb2.AgentStatus | None, after: status_pb2.AgentStatus) -> News:
    """What is new; everything, for the first message."""
    if before is None or [item.reason for item in before.problems] != [item.reason for item in after.problems]:
        return News.STATE
    return _news(before, after, _AGENT_FIGURES, _IGNORED)


def _account_news(before: status_pb2.StrategyAccount | None, after: status_pb2.StrategyAccount) -> News:
    if before is None:
        return News.STATE
    if before == after:
        return News.NOTHING
    if _refused(before) != _refused(after) or _remaining(before) != _remaining(after):
        return News.STATE
    return _news(before, after, _ACCOUNT_FIGURES | {"last_reject", "remaining"}, frozenset())


def _refused(account: status_pb2.StrategyAccount) -> tuple[str, str, int]:
    last = account.last_reject
    return last.reason, last.risk_limit, min(last.count, MANY_REFUSALS)


def _remaining(account: status_pb2.StrategyAccount) -> list[tuple[str, str, bool]]:
    return [(item.instrument.symbol, item.reason, item.final) for item in account.remaining]


def _news(before: Message, after: Message, figures: frozenset[str], ignored: frozenset[str]) -> News:
    """Without copies: a gateway's message may have a thousand accounts."""
    old, new = _fields(before, ignored), _fields(after, ignored)
    names = old.keys() | new.keys()
    if any(old.get(name) != new.get(name) for name in names - figures):
        return News.STATE
    return News.FIGURES if any(old.get(name) != new.get(name) for name in names & figures) else News.NOTHING


def _fields(message: Message, ignored: frozenset[str]) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields() if field.name not in ignored}
