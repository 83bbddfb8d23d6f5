"""Between messages and the domain: instruments and the enumerations of orders. What is unspecified or unknown of an
enumeration has no entry."""

from __future__ import annotations

from crowetrade.bus.v1 import instrument_pb2, orders_pb2
from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrdStatus, OrdType, Side, TimeInForce

SIDE_FROM_WIRE = {pb.SIDE_BUY: Side.BUY, pb.SIDE_SELL: Side.SELL}
ORD_TYPE_FROM_WIRE = {orders_pb2.ORD_TYPE_MARKET: OrdType.MARKET, orders_pb2.ORD_TYPE_LIMIT: OrdType.LIMIT}
TIME_IN_FORCE_FROM_WIRE = {
    orders_pb2.TIME_IN_FORCE_DAY: TimeInForce.DAY,
    orders_pb2.TIME_IN_FORCE_GTC: TimeInForce.GTC,
    orders_pb2.TIME_IN_FORCE_IOC: TimeInForce.IOC,
    orders_pb2.TIME_IN_FORCE_FOK: TimeInForce.FOK,
    orders_pb2.TIME_IN_FORCE_GTD: TimeInForce.GTD,
}
ORD_STATUS_FROM_WIRE = {
    orders_pb2.ORD_STATUS_PENDING_NEW: OrdStatus.PENDING_NEW,
    orders_pb2.ORD_STATUS_NEW: OrdStatus.NEW,
    orders_pb2.ORD_STATUS_PARTIALLY_FILLED: OrdStatus.PARTIALLY_FILLED,
    orders_pb2.ORD_STATUS_FILLED: OrdStatus.FILLED,
    orders_pb2.ORD_STATUS_PENDING_CANCEL: OrdStatus.PENDING_CANCEL,
    orders_pb2.ORD_STATUS_CANCELED: OrdStatus.CANCELED,
    orders_pb2.ORD_STATUS_REJECTED: OrdStatus.REJECTED,
    orders_pb2.ORD_STATUS_EXPIRED: OrdStatus.EXPIRED,
    orders_pb2.ORD_STATUS_PENDING_REPLACE: OrdStatus.PENDING_REPLACE,
    orders_pb2.ORD_STATUS_UNKNOWN: OrdStatus.UNKNOWN,
}
SIDE_TO_WIRE = {side: value for value, side in SIDE_FROM_WIRE.items()}
ORD_TYPE_TO_WIRE = {kind: value for value, kind in ORD_TYPE_FROM_WIRE.items()}
TIME_IN_FORCE_TO_WIRE = {tif: value for value, tif in TIME_IN_FORCE_FROM_WIRE.items()}
ORD_STATUS_TO_WIRE = {status: value for value, status in ORD_STATUS_FROM_WIRE.items()}


def instrument_id(message: instrument_pb2.InstrumentId) -> InstrumentId:
    """The instrument of a message; both names are empty when it is unset."""
    return InstrumentId(message.venue, message.symbol)


def instrument_to_wire(instrument: InstrumentId) -> instrument_pb2.InstrumentId:
    """The message of an instrument."""
    return instrument_pb2.InstrumentId(venue=instrument.venue, symbol=instrument.symbol)
