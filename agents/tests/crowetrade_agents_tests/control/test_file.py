"""The pod's file of kill orders: what was written is read, and what cannot be read stops everybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.file import NAME, KillFile


def order(name: str = "stop") -> kill_pb2.KillOrder:
    scope = kill_pb2.KillScope(
        strategy_selector=kill_pb2.LabelSelector(match_labels={"team": "hft"}), namespaces_from="Same"
    )
    return kill_pb2.KillOrder(
        namespace="desk",
        name=name,
        uid="u1",
        generation=3,
        mode=kill_pb2.KILL_MODE_FLATTEN,
        scope=scope,
        reason="drill of Zürich",
        issued_unix_ns=1_700_000_000_123_456_789,
    )


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    file = KillFile(tmp_path / "made" / "here")
    assert file.read("desk", "sim") == []
    file.write([order(), order("other")])
    file.write([order("other")])
    assert KillFile(tmp_path / "made" / "here").read("desk", "sim") == [order("other")]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"kills": [{"namespace": "desk"',
        b"\xff\xfe",
        b"[]",
        b'{"orders": []}',
        b'{"kills": [7]}',
        b'{"kills": [{"of a newer version": 1}]}',
    ],
)
def test_what_cannot_be_read_stops_everybody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    (found,) = KillFile(tmp_path).read("desk", "sim")
    assert (found.namespace, found.name) == ("desk", "kill-file-of-sim")
    assert (found.mode, found.scope.namespaces_from) == (kill_pb2.KILL_MODE_CANCEL, "All")


def test_a_directory_in_its_place_stops_everybody(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert len(KillFile(tmp_path).read("desk", "sim")) == 1


def test_where_nothing_can_be_written_the_caller_hears_of_it(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(OSError):
        KillFile(tmp_path / "a file").write([order()])
