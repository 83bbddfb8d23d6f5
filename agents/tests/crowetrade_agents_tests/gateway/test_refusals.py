"""Refusals of one strategy as the journal keeps them: whatever it sends, few events, and no request uncounted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.gateway.refusals import EVENTS, NAMED_SYMBOLS, TEXT_LENGTH, Refusals, by_symbol
from crowetrade_agents.risk.reasons import Reason, Refusal

MOST_BYTES = 5_200
"""Of all events of one strategy with the longest names there can be."""
USUAL_BYTES = 1_500
"""The same with symbols of seven letters and sentences of a hundred, as they are most often."""
LONGEST = "x" * 63
KINDS = [(reason, limit) for reason in list(Reason)[:6] for limit in ("", "desk")]
Sent = tuple[Reason, str, str, bool]
SENT = st.lists(
    st.tuples(
        *(st.sampled_from(KINDS), st.sampled_from(["", *(f"S{number}" for number in range(100))]), st.booleans())
    ).map(lambda item: (*item[0], *item[1:])),
    max_size=150,
)


def _events(sent: Sequence[Sent], text: str = "no", strategy: str = "alpha") -> list[journal_pb2.RequestsRefused]:
    refusals = Refusals()
    for reason, limit, symbol, is_reject in sent:
        refusals.add(Refusal(reason, text, limit), symbol, is_reject=is_reject)
    assert refusals.rejects == sum(item[3] for item in sent)
    return refusals.events(strategy)


def _size(events: Sequence[journal_pb2.RequestsRefused]) -> int:
    """In the journal, each with its time."""
    return sum(journal_pb2.JournalEvent(at_unix_ns=1 << 60, requests_refused=event).ByteSize() + 3 for event in events)


@given(SENT)
def test_whatever_is_refused_is_counted_exactly_once_in_few_events(sent: list[Sent]) -> None:
    events = _events(sent)
    of_kind = Counter((str(reason), limit) for reason, limit, _, _ in sent)
    of_symbol = Counter(symbol for _, _, symbol, _ in sent)
    counted: Counter[str] = Counter()
    for event in events:
        for symbol, count in by_symbol(event):
            assert count > 0
            counted[symbol] += count

    assert len(events) == min(len(of_kind), EVENTS)
    assert sum(event.count for event in events) == sum(counted.values()) == len(sent)
    assert sum(event.rejects for event in events) == sum(is_reject for *_, is_reject in sent)
    assert sum(len(event.symbols) or bool(event.symbol) for event in events) <= NAMED_SYMBOLS
    assert all(count <= of_symbol[symbol] for symbol, count in counted.items() if symbol)
    if len({item[:3] for item in sent}) <= NAMED_SYMBOLS:
        assert counted == of_symbol
    named = {(event.reason, event.risk_limit): event.count for event in events}
    several = named.pop((str(Reason.SEVERAL_REASONS), ""), 0)
    assert bool(several) == (len(of_kind) > EVENTS)
    assert named.items() <= of_kind.items()
    if sent:
        assert (events[-1].reason, events[-1].risk_limit) == (str(sent[-1][0]), sent[-1][1])


@given(SENT, st.text(max_size=3 * TEXT_LENGTH))
def test_its_bytes_are_bounded(sent: list[Sent], text: str) -> None:
    """By ASCII: what a strategy sends is shown as such."""
    longest = [
        (reason, limit and LONGEST, symbol and symbol.rjust(32, "X"), new) for reason, limit, symbol, new in sent
    ]

    assert _size(_events(longest, ascii(text), LONGEST)) <= MOST_BYTES


def test_the_bound_is_near_to_the_worst_case() -> None:
    reasons = sorted(Reason, key=len)[-EVENTS:]
    worst = [(reasons[number % EVENTS], LONGEST, f"{number:032}", True) for number in range(10_000)]
    usual = [(list(Reason)[number % 6], "desk", f"EUR-{number:03}", True) for number in range(1000)]

    assert MOST_BYTES * 0.9 < _size(_events(worst, "x" * 1000, LONGEST)) <= MOST_BYTES
    assert USUAL_BYTES * 0.9 < _size(_events(usual, "x" * 100)) <= USUAL_BYTES


def test_the_last_reason_and_those_that_came_most_often_are_named() -> None:
    sent = [(Reason.PRICE_COLLAR, "desk", "S1", True)] * 1
    for count, reason in enumerate(list(Reason)[:5], start=2):
        sent += [(reason, "", "S1" if count % 2 else "S2", True)] * count
    sent += [(Reason.PRICE_COLLAR, "desk", "S3", True)]
    events = _events(sent)

    assert [(event.reason, event.count, event.text) for event in events] == [
        ("SeveralReasons", 2 + 3 + 4, "refused for 3 other reasons, which are not named"),
        (str(list(Reason)[3]), 5, "no"),
        (str(list(Reason)[4]), 6, "no"),
        ("PriceCollar", 2, "no"),
    ]
    assert [list(by_symbol(event)) for event in events] == [
        [("S2", 6), ("S1", 3)],
        [("S1", 5)],
        [("S2", 6)],
        [("S1", 1), ("S3", 1)],
    ]


def test_an_order_that_the_venue_takes_ends_the_row_and_no_count() -> None:
    refusals = Refusals()
    refusals.add(Refusal(Reason.PRICE_COLLAR, "no"), "S1", is_reject=True)
    refusals.end_row()
    refusals.add(Refusal(Reason.PRICE_COLLAR, "no"), "S1", is_reject=True)

    (event,) = refusals.events("alpha")
    assert (event.count, event.rejects, refusals.rejects) == (2, 1, 1)


def test_an_event_of_a_version_that_wrote_one_per_symbol_is_read() -> None:
    body = journal_pb2.RequestsRefused(symbol="EUR-USD", count=7)

    assert list(by_symbol(body)) == [("EUR-USD", 7)]
