from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_cli.results.curves import instrument_curves, strategy_curves, total

from .values import EMA, HOUR_NS, INSTRUMENTS, MONDAY_NS, PAIR, VENUE, Held, facts, result

NUMBERS = st.decimals(-10_000, 10_000, places=5).map(str)
KEYS = [(strategy, symbol) for strategy in (EMA, PAIR) for symbol in ("EUR-USD", "FUT", "EUR-GBP")]
HELD = st.tuples(NUMBERS, NUMBERS, NUMBERS)
SAMPLES = st.lists(st.fixed_dictionaries(dict.fromkeys(KEYS, HELD)), min_size=1, max_size=30)
BOTH = (facts(EMA), facts(PAIR))


@settings(deadline=None)
@given(SAMPLES)
def test_a_curve_is_the_sum_over_the_instruments_of_its_currency(samples: list[dict[tuple[str, str], Held]]) -> None:
    timed = [(MONDAY_NS + index * HOUR_NS, held) for index, held in enumerate(samples)]
    expected: dict[tuple[str, str], list[tuple[Decimal, Decimal, Decimal]]] = defaultdict(list)
    for _, held in timed:
        sums: dict[tuple[str, str], tuple[Decimal, Decimal, Decimal]] = {}
        for (strategy, symbol), (position, cash, mark) in held.items():
            instrument = INSTRUMENTS[VENUE, symbol]
            value = Decimal(position) * Decimal(mark) * instrument.multiplier
            key = (strategy, instrument.currency)
            pnl, gross, net = sums.get(key, (Decimal(0),) * 3)
            sums[key] = (pnl + Decimal(cash) + value, gross + abs(value), net + value)
        for key, values in sums.items():
            expected[key].append(values)
    run = result(timed, strategies=BOTH)
    curves = strategy_curves(run)
    assert curves.keys() == expected.keys()
    for key, curve in curves.items():
        assert curve.at_ns == tuple(at_ns for at_ns, _ in timed)
        assert list(zip(curve.pnl, curve.gross, curve.net, strict=True)) == expected[key]
    both = total([curves[EMA, "USD"], curves[PAIR, "USD"]])
    assert list(both.pnl) == [a[0] + b[0] for a, b in zip(expected[EMA, "USD"], expected[PAIR, "USD"], strict=True)]
    instruments = instrument_curves(run)
    usd = sum((curve.pnl[-1] for curve in instruments if curve.currency == "USD"), Decimal(0))
    assert usd == both.pnl[-1]


def test_many_samples_stay_in_the_order_of_time() -> None:
    samples = [(MONDAY_NS + index * HOUR_NS, {(EMA, "EUR-USD"): ("0", str(index), "1")}) for index in range(5000)]
    curve = strategy_curves(result(samples))[EMA, "USD"]
    assert list(curve.pnl) == list(range(5000))
    assert list(curve.at_ns) == sorted(curve.at_ns)


def test_a_strategy_that_holds_nothing_in_its_currency_has_a_flat_curve() -> None:
    samples = [
        (MONDAY_NS, {(EMA, "EUR-GBP"): ("0", "0", "1")}),
        (MONDAY_NS + HOUR_NS, {(EMA, "EUR-GBP"): ("0", "5", "1")}),
    ]
    curves = strategy_curves(result(samples))
    assert curves[EMA, "USD"].equity(Decimal(1000)) == [1000, 1000]
    assert curves[EMA, "USD"].at_ns == curves[EMA, "GBP"].at_ns
    assert list(curves[EMA, "GBP"].pnl) == [0, 5]


def test_the_price_of_an_instrument_is_its_mark_and_none_before_it_has_one() -> None:
    held = {(EMA, "FUT"): ("0", "0", "7")}
    curve = instrument_curves(result([(MONDAY_NS, held), (MONDAY_NS + 1, {(EMA, "FUT"): ("2", "-700", "8")})]))[0]
    assert (curve.symbol, curve.currency) == ("FUT", "USD")
    assert [list(curve.mark), list(curve.pnl)] == [[7, 8], [0, 100]]


def test_without_a_sample_a_curve_has_the_start_and_the_end() -> None:
    run = result([(MONDAY_NS, {}), (MONDAY_NS + HOUR_NS, {})])
    assert strategy_curves(run)[EMA, "USD"].at_ns == (MONDAY_NS, MONDAY_NS + HOUR_NS)
