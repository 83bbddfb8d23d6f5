"""What is read from the bus, refused as a whole when a number in it is none."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from google.protobuf.message import DecodeError

from crowetrade.bus.v1 import status_pb2

_ALWAYS = ("quantity", "realized_pnl", "fees")
_IF_KNOWN = ("average_price", "mark_price", "unrealized_pnl")


def read_gateway_status(data: bytes) -> status_pb2.GatewayStatus:
    """A GatewayStatus whose positions have numbers that can be counted with; raises DecodeError.

    A position that cannot be read must never count as flat: a rollout or a deletion would go ahead.
    """
    status = status_pb2.GatewayStatus.FromString(data)
    for account in status.accounts:
        for position in account.positions:
            for name in (*_ALWAYS, *_IF_KNOWN):
                text = str(getattr(position, name))
                if not (_is_number(text) or (not text and name in _IF_KNOWN)):
                    raise DecodeError(f"{name} {text!r} of {account.strategy} in {position.symbol} is not a number")
    return status


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
