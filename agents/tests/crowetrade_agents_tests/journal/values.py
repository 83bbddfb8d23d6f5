"""Events, journals and books with values that are easy to tell apart."""

from __future__ import annotations

from collections.abc import Sequence

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade_agents.journal.chain import seal
from crowetrade_agents.journal.port import JournalHead

NOW = 1_767_225_600_000_000_000


def submitted(number: int, strategy: str = "ema") -> pb.JournalEvent:
    """An order of a strategy."""
    order = pb.OrderSubmitted(
        cl_ord_id=f"{strategy}-dj3k5m0p2q-{number}",
        strategy=strategy,
        symbol="EUR-USD",
        side=market_data_pb2.SIDE_BUY,
        order_quantity="3000",
        ord_type=orders_pb2.ORD_TYPE_LIMIT,
        price="1.10010",
        time_in_force=orders_pb2.TIME_IN_FORCE_GTC,
    )
    return pb.JournalEvent(at_unix_ns=NOW + number, order_submitted=order)


def started(token: int) -> pb.JournalEvent:
    """A gateway takes over."""
    return pb.JournalEvent(at_unix_ns=NOW, session_started=pb.SessionStarted(pod=f"p{token}", fencing_token=token))


def submissions(first: int, count: int) -> list[pb.JournalEvent]:
    """Orders with rising numbers."""
    return [submitted(number) for number in range(first, first + count)]


def journal_of(sizes: Sequence[int], tokens: Sequence[int] = ()) -> tuple[list[bytes], list[JournalHead]]:
    """Records of so many events each, and the head after each of them."""
    payloads: list[bytes] = []
    heads = [JournalHead()]
    for place, size in enumerate(sizes):
        events = submissions(heads[-1].sequence + 1, size)
        payload, head = seal(heads[-1], events, NOW + place, tokens[place] if tokens else 1)
        payloads.append(payload)
        heads.append(head)
    return payloads, heads[1:]


def books(orders: int = 1, text: str = "", token: int = 1) -> pb.Books:
    """Books that remember so many ended orders."""
    return pb.Books(
        fencing_token=token,
        ended=[pb.BookedOrder(order=submitted(n).order_submitted, text=text) for n in range(orders)],
    )
