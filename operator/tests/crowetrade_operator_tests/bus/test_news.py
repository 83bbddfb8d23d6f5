"""What may change a condition is told from what a reader can wait for."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade.bus.v1 import instrument_pb2, status_pb2
from crowetrade_operator.bus.news import GatewayNews, News, agent_news, gateway_news
from crowetrade_operator_tests.samples import account, gateway_status

EUR_USD = instrument_pb2.InstrumentId(venue="sim-fx", symbol="EUR-USD")
POSITION = status_pb2.Position(instrument=EUR_USD, quantity="1000", mark_price="1.1")


def refused(count: int, reason: str = "MaxOrderRate") -> status_pb2.Refusals:
    return status_pb2.Refusals(reason=reason, risk_limit="fx-desk", count=count, last_unix_ns=count)


def remaining(quantity: str, reason: str = "MissingMarketData") -> list[status_pb2.Remaining]:
    return [status_pb2.Remaining(instrument=EUR_USD, quantity=quantity, reason=reason)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sent_unix_ns": 2}, News.NOTHING),
        ({"market_data_sequence": 9}, News.NOTHING),
        ({"journal_sequence": 1001}, News.FIGURES),
        ({"throttled_total": 1}, News.FIGURES),
        ({"latency_p99_micros": 700}, News.FIGURES),
        ({"utilisation": [status_pb2.Utilisation(risk_limit="fx-desk", used="1")]}, News.FIGURES),
        ({"session": status_pb2.SESSION_STATE_DISCONNECTED}, News.STATE),
        ({"session_message": "the line is cut"}, News.STATE),
        ({"fencing_token": 2}, News.STATE),
        ({"pod": "another"}, News.STATE),
        ({"config_revision": "another"}, News.STATE),
        ({"risk_acknowledgements": [status_pb2.RiskAcknowledgement(risk_limit="fx-desk")]}, News.STATE),
        ({"blocked_reason": "JournalUnavailable"}, News.STATE),
        ({"waiting_for": ["ema"]}, News.STATE),
        ({"breaches": [status_pb2.Breach(breach="fx-desk/ema@sim-fx-1")]}, News.STATE),
        ({"watches_kill_switches": True}, News.STATE),
        ({"credentials": status_pb2.CredentialsStatus(in_use=True)}, News.STATE),
        ({"credentials": status_pb2.CredentialsStatus()}, News.STATE),
        ({"left_out": ["latency"], "journal_sequence": 1001}, News.STATE),
    ],
)
def test_of_a_gateway(fields: dict[str, Any], expected: News) -> None:
    assert gateway_news(gateway_status(), gateway_status(**fields)) == GatewayNews(expected, {})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, News.NOTHING),
        ({}, {"positions": [POSITION]}, News.FIGURES),
        ({}, {"open_orders": 1, "sent_total": 1, "filled_total": 1, "rejected_total": 1}, News.FIGURES),
        ({}, {"unknown_orders": 1}, News.STATE),
        ({}, {"connected": False}, News.STATE),
        ({}, {"stopped": True}, News.STATE),
        ({}, {"risk_limits": ["fx-desk", "another"]}, News.STATE),
        ({}, {"last_reject": refused(1)}, News.STATE),
        ({"last_reject": refused(1)}, {"last_reject": refused(2)}, News.STATE),
        ({"last_reject": refused(2)}, {"last_reject": refused(3)}, News.FIGURES),
        ({"last_reject": refused(3)}, {"last_reject": refused(3, "PriceCollar")}, News.STATE),
        ({}, {"remaining": remaining("1000")}, News.STATE),
        ({"remaining": remaining("1000")}, {"remaining": remaining("500")}, News.FIGURES),
        ({"remaining": remaining("1000")}, {"remaining": remaining("1000", "VenueHalted")}, News.STATE),
    ],
)
def test_of_an_account(before: dict[str, Any], after: dict[str, Any], expected: News) -> None:
    others = account("other")
    found = gateway_news(
        gateway_status(accounts=[account(**before), others]), gateway_status(accounts=[others, account(**after)])
    )
    assert found == GatewayNews(News.NOTHING, {} if expected is News.NOTHING else {"ema": expected})
    assert bool(found) is (expected is not News.NOTHING)


def test_a_field_that_is_no_figure_is_state() -> None:
    """A field that is added to the contract may change a condition until somebody says that it does not."""
    figures = {"journal_sequence", "positions", "utilisation", "throttled_total", "latency_p99_micros"}
    apart = {"accounts", "sent_unix_ns", "market_data_sequence"}
    for field in status_pb2.GatewayStatus.DESCRIPTOR.fields:
        if field.name in figures | apart:
            continue
        after = gateway_status()
        value: Any = getattr(after, field.name)
        if field.is_repeated:
            value.append("x") if field.message_type is None else value.add()
        elif field.message_type is not None:
            value.SetInParent()
        else:
            setattr(after, field.name, value + "x" if isinstance(value, str) else type(value)(not value))
        assert gateway_news(gateway_status(), after).gateway is News.STATE, field.name


def test_an_account_that_comes_or_goes_and_a_gateway_that_was_not_heard_before() -> None:
    with_it, without = gateway_status(accounts=[account()]), gateway_status()
    assert gateway_news(without, with_it) == GatewayNews(News.NOTHING, {"ema": News.STATE})
    assert gateway_news(with_it, without) == GatewayNews(News.NOTHING, {"ema": News.STATE})
    assert gateway_news(None, with_it) == GatewayNews(News.FIRST, {"ema": News.STATE})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, News.NOTHING),
        ({"sent_unix_ns": 2}, News.NOTHING),
        ({"last_signal_unix_ns": 5}, News.FIGURES),
        ({"problems": [status_pb2.AgentProblem(reason="DataGap", count=2)]}, News.FIGURES),
        ({"problems": [status_pb2.AgentProblem(reason="ModelFailing", count=1)]}, News.STATE),
        ({"problems": []}, News.STATE),
        ({"waiting_reason": "WarmingUp"}, News.STATE),
        ({"config_hash": "another"}, News.STATE),
        ({"roles": ["execution"]}, News.STATE),
    ],
)
def test_of_an_agent(fields: dict[str, Any], expected: News) -> None:
    said: dict[str, Any] = {"strategy": "ema", "problems": [status_pb2.AgentProblem(reason="DataGap", count=1)]}
    before, after = status_pb2.AgentStatus(**said), status_pb2.AgentStatus(**(said | fields))
    assert agent_news(before, after) is expected
    assert agent_news(None, after) is News.FIRST
