"""What a KillSwitch at the API server asks a gateway for. The watch itself is tested against a real API server, in
operator/tests."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel, Kill, Rearm
from crowetrade_agents.control.kubernetes import command_of


def kill_switch(**spec: object) -> dict[str, Any]:
    metadata = {"namespace": "desk", "name": "stop", "uid": "u1", "generation": 3}
    return {"metadata": metadata, "spec": {"engaged": True, "reason": "drill", **spec}}


def test_an_engaged_one_stops() -> None:
    command = command_of(kill_switch(mode="Flatten"), 7)
    assert isinstance(command, Kill)
    assert (command.channel, command.received_ns) == (Channel.API, 7)
    order = command.order
    assert (order.namespace, order.name, order.uid, order.generation) == ("desk", "stop", "u1", 3)
    assert order.mode == kill_pb2.KILL_MODE_FLATTEN


def test_one_that_is_not_engaged_re_arms() -> None:
    assert command_of(kill_switch(engaged=False), 7) == Rearm("desk", "stop", "u1", 3, Channel.API)


@pytest.mark.parametrize(
    "item",
    [
        kill_switch(engaged=False, mode="of a newer version"),
        kill_switch(engaged="perhaps"),
        kill_switch() | {"spec": None},
        {"metadata": {"name": "stop", "namespace": "desk", "generation": "x"}, "spec": {}},
        {"metadata": "nonsense"},
        {},
    ],
)
def test_one_that_cannot_be_read_stops_everybody(item: dict[str, Any]) -> None:
    command = command_of(item, 7)
    assert isinstance(command, Kill)
    assert (command.order.mode, command.order.scope.namespaces_from) == (kill_pb2.KILL_MODE_CANCEL, "All")
    assert "cannot be read" in command.order.reason
