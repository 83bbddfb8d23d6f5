"""How a kill order is shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from crowetrade_cli.fleet.kill import Look, Outcome, Way
from crowetrade_cli.fleet.progress import Channel, Row, Stage
from crowetrade_cli.fleet.show import JsonShow, PlainShow, TableShow

WAITING = Row("desk/sim-fx")
BLOCKED = Row(
    "desk/sim-fx",
    Stage.BLOCKED,
    (Channel.DIRECT,),
    cancels_sent=5,
    cancels_confirmed=1,
    still_open=("c-1", "c-2", "c-3", "c-4"),
    still_open_count=4,
)
HALTED = Row("desk/sim-fx", Stage.HALTED, (Channel.DIRECT, Channel.BUS), 5, 5, milliseconds=41)


def look(row: Row) -> Look:
    ways = [
        Way(Channel.API, Outcome.WORKS, "KillSwitch desk/all is engaged [by admin]"),
        Way(Channel.BUS, Outcome.NOT_TRIED, "its address is not known"),
    ]
    halted = row.stage is Stage.HALTED
    return Look("desk", "all", True, ways, [row], halted=halted, tried=True, over=halted)


def test_the_table() -> None:
    out = io.StringIO()
    with TableShow(Console(file=out, width=140)) as show:
        show.update(look(BLOCKED))
    text = out.getvalue()
    for part in (
        "Kill order desk/all",
        "is engaged [by admin]",
        "NotTried",
        "Blocked",
        "1/5",
        "c-1, c-2, c-3 and 1 more",
    ):
        assert part in text


def test_of_many_gateways_those_that_have_not_halted_are_seen_while_it_runs() -> None:
    gateways = [replace(HALTED, gateway=f"desk/{number:02}") for number in range(30)] + [BLOCKED]
    out = io.StringIO()
    with TableShow(Console(file=out, width=140, height=12, force_terminal=True)) as show:
        show.update(replace(look(BLOCKED), gateways=gateways))
        text = out.getvalue()
    assert "Gateways: 30 of 31 have halted" in text
    assert "desk/sim-fx" in text
    assert "desk/29" not in text, "the terminal has 12 lines"


def test_lines_tell_what_changes_and_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainShow() as show:
        for row in (WAITING, WAITING, BLOCKED, HALTED, HALTED):
            show.update(look(row))
    assert capsys.readouterr().out.splitlines() == [
        "API server: KillSwitch desk/all is engaged [by admin]",
        "bus: not tried, its address is not known",
        "gateway desk/sim-fx: Waiting",
        "gateway desk/sim-fx: Blocked (by direct; 1 of 5 cancels confirmed; open: c-1, c-2, c-3 and 1 more)",
        "gateway desk/sim-fx: Halted (by direct, bus; 5 of 5 cancels confirmed; in 41 ms)",
    ]


def test_json_has_a_line_per_change(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonShow() as show:
        for row in (BLOCKED, BLOCKED, HALTED):
            show.update(look(row))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [next(iter(line)) for line in lines] == ["way", "way", "gateway", "gateway"]
    assert lines[0]["way"] == {"name": "API server", "outcome": "Works", "message": look(HALTED).ways[0].message}
    assert lines[2]["gateway"]["still_open"] == ["c-1", "c-2", "c-3", "c-4"]
    assert lines[3]["gateway"]["stage"] == "Halted"
