"""Runs a model's hooks over market data. Every event gives exactly one FeatureVector, a bad one a vector not ready."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

from crowetrade_agents import sdk
from crowetrade_agents.domain.flow import FeatureVector, MarketEvent, Origin
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import REPEATED
from crowetrade_agents.errors import ModelFailed

# Decimal places that a number has on the wire; half of an odd last digit may need one more.
_PLACES = Decimal(1).scaleb(-18)
_ROUNDING = Context(prec=60, rounding=ROUND_HALF_EVEN)


class FeatureStage:
    """The feature role of one strategy."""

    def __init__(self, model: sdk.Model) -> None:
        self._model = model
        self._mids: dict[InstrumentId, Decimal] = {}
        self._unused = frozenset(kind for kind, hook in _HOOKS.items() if _is_inherited(model, hook))
        model.on_start()

    def on_market_event(self, event: MarketEvent) -> FeatureVector:
        """The vector of one event; raises ModelFailed, and then `not_ready` makes the vector."""
        body = event.event
        if body is None:
            return self.not_ready(event, HoldReason.INVALID_MARKET_DATA)
        shown: sdk.Quote | sdk.Trade | sdk.Bar
        if isinstance(body, TopOfBook):
            shown = sdk.Quote(
                body.instrument, body.event_ns, body.bid_price, body.ask_price, body.bid_quantity, body.ask_quantity
            )
            self._mids[body.instrument] = _rounded(shown.mid)
        else:
            shown = body
        if type(shown) in self._unused:
            return self.not_ready(event, HoldReason.EVENT_NOT_USED)
        features = self._run(shown)
        if not features.ready:
            return self.not_ready(event, HoldReason.WARMING_UP)
        return self._vector(event, "", _finite(features.values))

    def not_ready(self, event: MarketEvent, reason: str) -> FeatureVector:
        """The vector of an event without features; `mid` is the last of its instrument, whatever the event."""
        return self._vector(event, reason, {})

    def _vector(self, event: MarketEvent, reason: str, values: Mapping[str, float]) -> FeatureVector:
        origin = Origin(event.instrument, event.sequence, event.event_ns)
        return FeatureVector(origin, self._mids.get(event.instrument), reason, values)

    def _run(self, event: sdk.Quote | sdk.Trade | sdk.Bar) -> sdk.Features:
        try:
            features = getattr(self._model, _HOOKS[type(event)])(event)
        except (Exception, SystemExit) as error:
            raise ModelFailed(f"{_HOOKS[type(event)]} raised {type(error).__name__}: {error}") from error
        if not isinstance(features, sdk.Features):
            raise ModelFailed(f"{_HOOKS[type(event)]} returned {features!r:.80}, which is no sdk.Features")
        return features


_HOOKS: dict[type, str] = {sdk.Quote: "on_quote", sdk.Trade: "on_trade", sdk.Bar: "on_bar"}


def _is_inherited(model: sdk.Model, hook: str) -> bool:
    """Whether the model leaves the hook as the protocol has it."""
    return getattr(type(model), hook, None) is getattr(sdk.Model, hook)


@lru_cache(REPEATED)
def _rounded(mid: Decimal) -> Decimal:
    """To what travels over a bus, so that nothing depends on whether there is one between the stages."""
    exponent = mid.as_tuple().exponent
    return mid if isinstance(exponent, int) and exponent >= -18 else mid.quantize(_PLACES, context=_ROUNDING)


def _finite(values: object) -> dict[str, float]:
    if not isinstance(values, Mapping):
        raise ModelFailed(f"Features.values is {values!r:.80}; return a mapping from names to numbers")
    checked = {}
    for name, value in values.items():
        number = value if type(value) is float else _as_float(value)
        if not isinstance(name, str) or number is None or not math.isfinite(number):
            raise ModelFailed(f"feature {name!r:.80} is {value!r:.80}; return finite numbers by name")
        checked[name] = number
    return checked


def _as_float(value: object) -> float | None:
    """A number of any numeric type as a float; None for what is no number, text included."""
    if isinstance(value, str | bytes):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
