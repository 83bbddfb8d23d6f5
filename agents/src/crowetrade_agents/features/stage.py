"""Runs a model's hooks over market data. Every event gives exactly one FeatureVector, a bad one a vector not ready."""

from __future__ import annotations

import math
from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.features.decode import event_symbol, read_event


class FeatureStage:
    """The feature role of one strategy."""

    def __init__(self, model: sdk.Model) -> None:
        self._model = model
        self._mids: dict[tuple[str, str], Decimal] = {}
        model.on_start()

    def on_market_data(self, message: pb.MarketData) -> pb.FeatureVector:
        """The vector of one event; `mid_price` is the last mid of its instrument, also after a trade or a bar."""
        venue, symbol = event_symbol(message)
        vector = pb.FeatureVector(
            origin=pb.Origin(venue=venue, symbol=symbol, sequence=message.sequence, event_unix_ns=message.event_unix_ns)
        )
        try:
            event = read_event(message)
            features = self._run(event)
        except (ValueError, ArithmeticError):
            return vector
        mid = self._mids.get((venue, symbol))
        vector.mid_price = "" if mid is None else render(mid)
        if features.ready and all(math.isfinite(value) for value in features.values.values()):
            vector.ready = True
            vector.values.update(features.values)
        return vector

    def _run(self, event: sdk.Quote | sdk.Trade | sdk.Bar) -> sdk.Features:
        match event:
            case sdk.Quote():
                self._mids[event.venue, event.symbol] = event.mid
                return self._model.on_quote(event)
            case sdk.Trade():
                return self._model.on_trade(event)
            case sdk.Bar():
                return self._model.on_bar(event)
