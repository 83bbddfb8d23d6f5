"""Contract tests: what every message on the bus and the gateway's service keep to."""

from __future__ import annotations

import importlib

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade.config.v1 import allowance_pb2, config_pb2, kill_pb2
from crowetrade.gateway.v1 import gateway_pb2

FILES: list[FileDescriptor] = [
    market_data_pb2.DESCRIPTOR,
    orders_pb2.DESCRIPTOR,
    status_pb2.DESCRIPTOR,
    kill_pb2.DESCRIPTOR,
    allowance_pb2.DESCRIPTOR,
    config_pb2.DESCRIPTOR,
    gateway_pb2.DESCRIPTOR,
]
MESSAGES: list[Descriptor] = [message for file in FILES for message in file.message_types_by_name.values()]
FIELDS: list[FieldDescriptor] = [field for message in MESSAGES for field in message.fields]
DECIMAL_WORDS = (
    "price",
    "quantity",
    "fee",
    "fees",
    "pnl",
    "notional",
    "used",
    "allowed",
    "open",
    "high",
    "low",
    "close",
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_wire_name_and_the_import_name_agree(file: FileDescriptor) -> None:
    module = importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    assert module.__name__.rpartition(".")[0] == file.package


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.full_name)
def test_money_and_quantity_are_strings_and_times_are_int64(field: FieldDescriptor) -> None:
    if field.name.endswith("_ns"):
        assert field.type == FieldDescriptor.TYPE_INT64
    if field.name.split("_")[-1] in DECIMAL_WORDS and field.message_type is None:
        assert field.type == FieldDescriptor.TYPE_STRING


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.full_name)
def test_an_unknown_field_survives_an_older_reader(message: Descriptor) -> None:
    # A newer writer's field (number 1000, varint 1) must not be lost when an older process passes the message on.
    newer = bytes([0xC0, 0x3E, 0x01])
    module = importlib.import_module(message.file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    assert getattr(module, message.name).FromString(newer).SerializeToString() == newer


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (subjects.market_data("desk", "sim", "EUR-USD"), "md.desk.sim.EUR-USD"),
        (subjects.market_data("desk", "sim", "BRK.B"), "md.desk.sim.BRK%2EB"),
        (subjects.market_data("desk", "sim", "a>*% b"), "md.desk.sim.a%3E%2A%25%20b"),
        (subjects.features("desk", "ema"), "feature.desk.ema"),
        (subjects.signals("desk", "ema"), "signal.desk.ema"),
        (subjects.targets("desk", "ema"), "target.desk.ema"),
        (subjects.journal("desk", "sim"), "journal.desk.sim"),
        (subjects.gateway_status("desk", "sim"), "status.desk.gateway.sim"),
        (subjects.agent_status("desk", "ema", "combined"), "status.desk.agent.ema.combined"),
        (subjects.gateway_config_key("desk", "sim"), "gateway.desk.sim"),
    ],
)
def test_subjects_name_namespace_and_owner(subject: str, expected: str) -> None:
    assert subject == expected
