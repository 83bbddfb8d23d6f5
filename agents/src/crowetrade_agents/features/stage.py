"""Runs a model's hooks over market data. Every event gives exactly one FeatureVector, a bad one a vector not ready."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.domain.wire import event_instrument, instrument_to_wire
from crowetrade_agents.errors import ModelFailed
from crowetrade_agents.features.decode import read_event

# Decimal places that a number has on the wire; half of an odd last digit may need one more.
_PLACES = Decimal(1).scaleb(-18)
_ROUNDING = Context(prec=60, rounding=ROUND_HALF_EVEN)


class FeatureStage:
    """The feature role of one strategy."""

    def __init__(self, model: sdk.Model) -> None:
        self._model = model
        self._mids: dict[InstrumentId, Decimal] = {}
        model.on_start()

    def on_market_data(self, message: pb.MarketData) -> pb.FeatureVector:
        """The vector of one event; raises ModelFailed, and then `not_ready` makes the vector."""
        try:
            event = read_event(message)
        except ValueError:
            return self.not_ready(message, HoldReason.INVALID_MARKET_DATA)
        if isinstance(event, sdk.Quote):
            self._mids[event.instrument] = event.mid
        features = self._run(event)
        if not features.ready:
            return self.not_ready(message, HoldReason.WARMING_UP)
        vector = self.not_ready(message, "")
        vector.ready = True
        vector.values.update(_finite(features.values))
        return vector

    def not_ready(self, message: pb.MarketData, reason: str) -> pb.FeatureVector:
        """The vector of an event without features; `mid_price` is the last of its instrument, whatever the event."""
        instrument = event_instrument(message)
        mid = self._mids.get(instrument)
        return pb.FeatureVector(
            origin=pb.Origin(
                instrument=instrument_to_wire(instrument),
                sequence=message.sequence,
                event_unix_ns=message.event_unix_ns,
            ),
            mid_price="" if mid is None else render(mid.quantize(_PLACES, context=_ROUNDING)),
            reason=reason,
        )

    def _run(self, event: sdk.Quote | sdk.Trade | sdk.Bar) -> sdk.Features:
        hook = f"on_{type(event).__name__.lower()}"
        try:
            features = self._call(event)
        except Exception as error:
            raise ModelFailed(f"{hook} raised {type(error).__name__}: {error}") from error
        if not isinstance(features, sdk.Features):
            raise ModelFailed(f"{hook} returned {features!r:.80}, which is no sdk.Features")
        return features

    def _call(self, event: sdk.Quote | sdk.Trade | sdk.Bar) -> sdk.Features:
        match event:
            case sdk.Quote():
                return self._model.on_quote(event)
            case sdk.Trade():
                return self._model.on_trade(event)
            case sdk.Bar():
                return self._model.on_bar(event)


def _finite(values: object) -> dict[str, float]:
    if not isinstance(values, Mapping):
        raise ModelFailed(f"Features.values is {values!r:.80}; return a mapping from names to numbers")
    checked = {}
    for name, value in values.items():
        number = _as_float(value)
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
