"""The model on prices whose trend is known."""

from __future__ import annotations

import pytest
from crowetrade_agents.sdk import InstrumentId
from crowetrade_agents.sdk.testing import quotes, run_model

from my_alpha.model import MyAlpha

EURUSD = InstrumentId("my-alpha-sim", "EUR-USD")
# Ten steps that alternate, so that the drift has a deviation.
RISING = [1.1 + 0.001 * number + 0.0002 * (number % 2) for number in range(10)]
FALLING = RISING[::-1]


@pytest.mark.parametrize(("mids", "sign"), [(RISING, 1), (FALLING, -1)], ids=["rising", "falling"])
def test_it_expects_the_trend_to_last(mids: list[float], sign: int) -> None:
    # run_model also checks that the model is deterministic and keeps the other promises of a model.
    last = run_model(MyAlpha, quotes(EURUSD, mids), parameters={"window": 4})[-1]
    assert last.forecast is not None
    assert last.forecast.mu * sign > 0
    assert last.forecast.weights == {EURUSD: 1.0}


def test_it_warms_up_until_the_window_is_full() -> None:
    steps = run_model(MyAlpha, quotes(EURUSD, RISING), parameters={"window": 4})
    assert [step.reason for step in steps[:5]] == ["WarmingUp"] * 4 + [""]


def test_there_is_no_forecast_while_the_price_stands_still() -> None:
    steps = run_model(MyAlpha, quotes(EURUSD, ["1.1"] * 6), parameters={"window": 4})
    assert steps[-1].reason == "NoForecast"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"window": 1}, "window: must be a whole number from 2 to 10000"),
        ({"persistence": "1.5"}, "persistence: must be a number above 0 and not above 1"),
        ({"windw": 5}, "windw: MyAlpha has no such parameter"),
    ],
)
def test_a_wrong_parameter_is_refused_with_a_sentence(parameters: dict[str, int | str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        run_model(MyAlpha, quotes(EURUSD, RISING), parameters=parameters)
