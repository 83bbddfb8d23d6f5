"""What goes over the wire comes out as it went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrdStatus, Side, TimeInForce
from crowetrade_agents.venues.adapters.simulated.codec import decode, encode
from crowetrade_agents.venues.adapters.simulated.faults import Fault, FaultKind, FaultRate, Message
from crowetrade_agents.venues.adapters.simulated.queue import QueueModel
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Query, Replace
from crowetrade_agents.venues.adapters.simulated.spec import (
    Fees,
    FeeTier,
    Funding,
    QuoteMaking,
    Recording,
    Rollover,
    ShortSelling,
    SimulatedSpec,
)
from crowetrade_agents.venues.adapters.simulated.wire import (
    LoggedOn,
    Logon,
    Refused,
    Release,
    ServerFile,
    ToClient,
    ToServer,
)
from crowetrade_agents.venues.port import (
    Accepted,
    Busted,
    Charged,
    ChargeKind,
    Ended,
    Executed,
    FeedAlive,
    OpenOrder,
    OrderState,
    QuoteChanged,
    Replaced,
    RequestRejected,
    Resume,
    SessionChanged,
    SessionState,
    TradePrinted,
    VenueSnapshot,
)

from ...values import BTC, BTC_PERP, EUR, EUR_USD, D, terms

EXECUTED = Executed("a", "1", "x", EUR, Side.SELL, D(1000), D("1.1"), D("-0.00000001"), 5)
BUSTED = Busted("a", "y", "x", EUR, Side.SELL, D(1000), D("1.1"), D(0), 6)
CHARGED = Charged("z", ChargeKind.ROLLOVER, EUR, D(-3), D("1.1"), D("-0.5"), 7)
OPENED = OpenOrder("a", "1", EUR, Side.BUY, D(3), None, D(1), OrdStatus.PARTIALLY_FILLED)
SNAPSHOT = VenueSnapshot((OPENED,), (EXECUTED,), (BUSTED,), {EUR: D(-3), BTC: D(0)}, "{}", (CHARGED,))


@pytest.mark.parametrize(
    "message",
    [
        Logon(Resume(1, "{}", 2**63, 4, {EUR: D("-1.5")}), None),
        Release(7),
        NewOrder(terms("a", price=None, time_in_force=TimeInForce.GTD, expire_ns=9, post_only=True)),
        Cancel("c", "a", "1"),
        Replace(terms("b"), "a", ""),
        Query("a", "1", BTC),
    ],
)
def test_to_the_server(message: object) -> None:
    assert decode(ToServer, encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        LoggedOn(SNAPSHOT),
        LoggedOn(VenueSnapshot()),
        Refused("no"),
        Accepted("a", "1", 5),
        EXECUTED,
        BUSTED,
        CHARGED,
        Ended("a", "1", OrdStatus.EXPIRED, "EndOfSession", "", 5),
        Replaced("b", "a", "1", 5),
        RequestRejected("c", "a", "TooLate", "late", True, 5),
        OrderState("a", "b", "1", None, D(0), None, D(0), 5),
        OrderState("a", "b", "1", OrdStatus.NEW, D(5), D("1.1"), D(1), 5),
        QuoteChanged(7, TopOfBook(EUR, D("1.1"), None, D("1.2"), D(0), 5)),
        TradePrinted(8, EUR, D(1), D(2), None, 5),
        FeedAlive(5),
        SessionChanged(SessionState.ENDED, "over"),
    ],
)
def test_to_the_client(message: object) -> None:
    assert decode(ToClient, encode(message)) == message


def test_the_file_of_a_server() -> None:
    spec = SimulatedSpec(
        (Recording(Path("/data/x.csv"), "EUR-USD", QuoteMaking(D("0.5"), D(3), price_is_ask=True)),),
        None,
        True,
        5,
        Fees(D("-0.1"), D("0.2"), (FeeTier(D(5), D(0), D("0.1")),)),
        5,
        1,
        "00",
        "24x7",
        9,
        (Fault(FaultKind.BUST, Message.EXECUTED, 2, 7),),
        (FaultRate(FaultKind.LOSE, Message.QUOTE, 0.5),),
        QueueModel.PRICE_TIME,
        ShortSelling.FORBIDDEN,
        (Funding("BTC-PERP", D(1), 8),),
        (Rollover("EUR-USD", D("0.5"), D("-0.1")),),
    )
    file = ServerFile((EUR_USD, BTC_PERP), spec)
    assert decode(ServerFile, encode(file)) == file


@pytest.mark.parametrize(
    "raw", [{"_": "Release", "sequence": "7"}, {"_": "Nothing"}, {"_": "Query", "cl_ord_id": 1}, {"_": "Refused"}]
)
def test_what_does_not_fit_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode(ToServer, raw)
