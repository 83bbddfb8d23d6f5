"""What is read from the bus, refused as a whole when a number in it is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.protobuf.message import DecodeError, Message

from crowetrade.bus.v1 import status_pb2

_TEXT = r"-?[0-9]{1,80}(?:\.[0-9]{1,80})?"
_NUMBER = re.compile(_TEXT, re.ASCII)
_POSITION = {"quantity": True, "realized_pnl": True, "fees": True} | dict.fromkeys(
    ("average_price", "mark_price", "unrealized_pnl"), False
)
_SOUND_POSITION = re.compile(rf"{_TEXT} {_TEXT} {_TEXT} (?:{_TEXT})? (?:{_TEXT})? (?:{_TEXT})?", re.ASCII)
"""All of them at once, in this order: a fleet reports ten thousand positions a second, and each is sound. A text with a
space in it does not match, because there are as many spaces as there should be between six numbers."""
_HELD = {"quantity": True, "unattributed": False}
_LEFT = {"quantity": True}


def read_gateway_status(data: bytes) -> status_pb2.GatewayStatus:
    """A GatewayStatus whose positions have numbers that can be counted with; raises DecodeError.

    A position that cannot be read must never count as flat: a rollout or a deletion would go ahead. Plain digits only:
    an exponent could ask for millions of them.
    """
    status = status_pb2.GatewayStatus.FromString(data)
    for owner, message, numbers in _numbers(status):
        for name, required in numbers.items():
            text = str(getattr(message, name))
            if not (_NUMBER.fullmatch(text) or (not text and not required)):
                shown = text if len(text) <= 60 else text[:60] + "..."
                raise DecodeError(f"{name} {shown!r} of {owner} is not a number")
    return status


def read_agent_status(data: bytes) -> status_pb2.AgentStatus:
    """An AgentStatus without the time at which it was sent, which nobody reads: ages are measured on our own clock.
    Then most are equal to the one before. Raises DecodeError."""
    status = status_pb2.AgentStatus.FromString(data)
    status.ClearField("sent_unix_ns")
    return status


def _is_sound(position: status_pb2.Position) -> bool:
    text = (
        f"{position.quantity} {position.realized_pnl} {position.fees} "
        f"{position.average_price} {position.mark_price} {position.unrealized_pnl}"
    )
    return _SOUND_POSITION.fullmatch(text) is not None


def _numbers(status: status_pb2.GatewayStatus) -> Iterator[tuple[str, Message, dict[str, bool]]]:
    """Each message with numbers that has to be looked at: whose it is, and which of its fields may not be empty."""
    for account in status.accounts:
        for position in account.positions:
            if not _is_sound(position):
                yield f"{account.strategy} in {position.instrument.symbol}", position, _POSITION
        for left in account.remaining:
            yield f"{account.strategy} in {left.instrument.symbol}", left, _LEFT
    for held in status.positions:
        yield f"the account in {held.instrument.symbol}", held, _HELD
