from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError

from crowetrade.bus.v1 import instrument_pb2, status_pb2
from crowetrade_operator.bus.reading import read_gateway_status
from crowetrade_operator_tests.samples import account, gateway_status

EUR_USD = instrument_pb2.InstrumentId(venue="sim-fx", symbol="EUR-USD")


def status_with(**fields: str) -> status_pb2.GatewayStatus:
    """A status with one position of -5 EUR-USD, of which some fields are other."""
    sound = {"quantity": "-5", "average_price": "1.1", "realized_pnl": "0", "fees": "0.01"}
    position = status_pb2.Position(instrument=EUR_USD)
    for name, text in (sound | fields).items():
        setattr(position, name, text)
    return gateway_status(accounts=[account(positions=[position])])


@pytest.mark.parametrize("fields", [{}, {"mark_price": "1.2", "unrealized_pnl": "-0.5"}, {"quantity": "0"}])
def test_numbers_may_be_unknown_where_the_contract_says_so(fields: dict[str, str]) -> None:
    status = status_with(**fields)
    assert read_gateway_status(status.SerializeToString()) == status


UNREADABLE = [
    ("quantity", ""),
    ("quantity", "NaN"),
    ("quantity", "-5 lots"),
    ("quantity", "Infinity"),
    ("realized_pnl", ""),
    ("fees", "sNaN"),
    ("mark_price", "unknown"),
    ("unrealized_pnl", "nan"),
    ("average_price", "1,1"),
    ("fees", "1E5"),
    ("quantity", "1E-2000000"),
    ("quantity", "1_000"),
    ("quantity", "\u0661"),
    ("realized_pnl", "9" * 81),
]


@pytest.mark.parametrize(("name", "text"), UNREADABLE)
def test_a_number_that_is_none_refuses_the_status_and_is_named(name: str, text: str) -> None:
    with pytest.raises(DecodeError, match=f"{name} '{text[:60]}.* of ema in EUR-USD is not a number"):
        read_gateway_status(status_with(**{name: text}).SerializeToString())


def test_what_is_left_and_what_the_account_holds_are_numbers_too() -> None:
    left = status_pb2.Remaining(instrument=EUR_USD, quantity="900", reason="BelowMinQuantity")
    held = status_pb2.AccountPosition(instrument=EUR_USD, quantity="900")
    sound = gateway_status(accounts=[account(remaining=[left])], positions=[held])
    assert read_gateway_status(sound.SerializeToString()) == sound
    left.quantity, held.quantity = "", "NaN"
    with pytest.raises(DecodeError, match="quantity '' of ema in EUR-USD"):
        read_gateway_status(gateway_status(accounts=[account(remaining=[left])]).SerializeToString())
    with pytest.raises(DecodeError, match="quantity 'NaN' of the account in EUR-USD"):
        read_gateway_status(gateway_status(positions=[held]).SerializeToString())


def test_noise_is_no_status() -> None:
    with pytest.raises(DecodeError):
        read_gateway_status(b"\xff\xff")
