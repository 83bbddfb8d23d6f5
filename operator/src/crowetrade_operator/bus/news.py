"""What is new in a message, compared with the one before of the same sender. Pure.

Figures (positions, PnL, counters) change with every message, and whoever reads a status can wait for them. Everything
else, what these functions do not know included, may change a condition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from google.protobuf.message import Message

from crowetrade.bus.v1 import status_pb2

_OF_ACCOUNTS = frozenset({"accounts"})
_GATEWAY_FIGURES = frozenset({"journal_sequence", "positions", "utilisation", "throttled_total", "latency_p99_micros"})
_ACCOUNT_FIGURES = frozenset({"positions", "sent_total", "filled_total", "rejected_total", "open_orders"})
_COMPARED_BY_PART = frozenset({"last_reject", "remaining"})
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
    # The first message of a sender, which may say nothing that is not known.
    FIRST = 3


@dataclass(frozen=True, slots=True)
class GatewayNews:
    """What is new in a gateway's message."""

    # Of the gateway itself, its session, its configuration and its limits: it concerns all who trade there.
    gateway: News
    # By what the gateway calls a Strategy: what is new in its account.
    accounts: Mapping[str, News] | None = None

    def __bool__(self) -> bool:
        return self.gateway is not News.NOTHING or bool(self.accounts)


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of a kind of message, as they are compared: whose names are in no list of figures may change a
    condition."""

    state: tuple[str, ...]
    # Of these, the ones that may be absent.
    optional: tuple[str, ...]
    figures: tuple[str, ...]

    @classmethod
    def of(cls, kind: type[Message], figures: frozenset[str], apart: frozenset[str]) -> _Fields:
        """`apart` are those that are compared elsewhere, or not at all."""
        fields = [field for field in kind.DESCRIPTOR.fields if field.name not in apart | figures]
        return cls(
            tuple(field.name for field in fields),
            tuple(field.name for field in fields if field.has_presence),
            # The cheapest first: most often one is enough.
            tuple(sorted(figures, key=lambda name: (kind.DESCRIPTOR.fields_by_name[name].is_repeated, name))),
        )

    def news(self, before: Message, after: Message) -> News:
        """Field by field, without lists of them all: a gateway's message may have a thousand accounts."""
        for name in self.state:
            if getattr(before, name) != getattr(after, name):
                return News.STATE
        for name in self.optional:
            if before.HasField(name) != after.HasField(name):
                return News.STATE
        for name in self.figures:
            if getattr(before, name) != getattr(after, name):
                return News.FIGURES
        return News.NOTHING


_GATEWAY = _Fields.of(status_pb2.GatewayStatus, _GATEWAY_FIGURES, _OF_ACCOUNTS | _IGNORED)
_ACCOUNT = _Fields.of(status_pb2.StrategyAccount, _ACCOUNT_FIGURES, _COMPARED_BY_PART)
_AGENT = _Fields.of(status_pb2.AgentStatus, _AGENT_FIGURES, _IGNORED)


def gateway_news(before: status_pb2.GatewayStatus | None, after: status_pb2.GatewayStatus) -> GatewayNews:
    """What is new."""
    known = {account.strategy: account for account in before.accounts} if before is not None else {}
    accounts = {
        name: found
        for account in after.accounts
        if (found := _account_news(known.pop(name := account.strategy, None), account)) is not News.NOTHING
    }
    accounts |= dict.fromkeys(known, News.STATE)
    return GatewayNews(News.FIRST if before is None else _GATEWAY.news(before, after), accounts)


def agent_news(before: status_pb2.AgentStatus | None, after: status_pb2.AgentStatus) -> News:
    """How much is new."""
    if before is None:
        return News.FIRST
    if before == after:
        return News.NOTHING
    if _problems(before) != _problems(after):
        return News.STATE
    return _AGENT.news(before, after)


def _problems(agent: status_pb2.AgentStatus) -> list[str]:
    return [item.reason for item in agent.problems]


def _account_news(before: status_pb2.StrategyAccount | None, after: status_pb2.StrategyAccount) -> News:
    if before is None:
        return News.STATE
    if before == after:
        return News.NOTHING
    if _refused(before) != _refused(after) or _remaining(before) != _remaining(after):
        return News.STATE
    found = _ACCOUNT.news(before, after)
    # They differ: if in nothing else, then in what is a figure of the parts.
    return News.FIGURES if found is News.NOTHING else found


def _refused(account: status_pb2.StrategyAccount) -> tuple[str, str, int]:
    if not account.HasField("last_reject"):
        return "", "", 0
    last = account.last_reject
    return last.reason, last.risk_limit, min(last.count, MANY_REFUSALS)


def _remaining(account: status_pb2.StrategyAccount) -> list[tuple[str, str, bool]]:
    if not account.remaining:
        return []  # as almost always: the list alone takes four times as long
    return [(item.instrument.symbol, item.reason, item.final) for item in account.remaining]
