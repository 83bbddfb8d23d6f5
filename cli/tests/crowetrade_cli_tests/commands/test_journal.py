"""`crowetrade journal` against a real server, with a journal that the gateway's code wrote."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.journal.snapshots import split

from ..conftest import Run
from ..values import (
    EVENTS,
    FINE,
    NAMESPACE,
    PAIR,
    VENUE,
    fill_journal,
    make_stream,
    payloads,
    recovered_events,
    store,
    stored_records,
    write_journal,
)

SCRIPTS = Path(sys.executable).parent
JOURNALS = Path(__file__).parents[4] / "docs/journals.md"
BUS = ("--namespace", NAMESPACE, "--venue", VENUE, "--nats")


@pytest.mark.integration
def test_a_whole_journal_verifies(nats_url: str, run: Run) -> None:
    head = asyncio.run(write_journal(nats_url, snapshots_after=[2, 5]))
    ended = run("journal", "verify", *BUS, nats_url)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        f"events 1 to 10 are as they were written; the last record has the hash {head.record_hash.hex()}; "
        "snapshots stand on events 3, 10\n"
    )


@pytest.mark.integration
def test_an_empty_journal_verifies(nats_url: str, run: Run) -> None:
    asyncio.run(make_stream(nats_url))
    assert run("journal", "verify", *BUS, nats_url).out == "the journal is empty\n"


def _part(sequence: int, record_hash: bytes = b"h" * 32, **fields: int) -> bytes:
    part = pb.JournalSnapshot.FromString(next(split(pb.Books(), JournalHead(sequence, record_hash))))
    part.MergeFrom(pb.JournalSnapshot(**fields))  # type: ignore[arg-type]
    return part.SerializeToString()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("records", "snapshots", "sentence"),
    [
        (
            [payload.replace(b"EUR-USD", b"USD-EUR", 1) for payload in payloads()],
            [],
            "the journal is broken: the record with event 4 does not follow event 3: the hashes differ",
        ),
        (payloads()[:2] + payloads()[3:], [], "the record after event 3 says that it begins with event 5"),
        (payloads()[1:], [], "begins with event 2, and no snapshot proves what came before"),
        (payloads(), [_part(11)], "a snapshot stands on event 11, but the journal ends with event 10"),
        (payloads(), [_part(3)], "the record that ends with event 3 is not the one that the snapshot"),
        (payloads(), [b"\xff"], "the part of a snapshot that is message 1 cannot be decoded"),
        (payloads(), [_part(3, part=1, parts=0)], None),
    ],
)
def test_verify_says_where_a_journal_breaks(
    nats_url: str, run: Run, records: list[bytes], snapshots: list[bytes], sentence: str | None
) -> None:
    asyncio.run(store(nats_url, records, snapshots))
    ended = run("journal", "verify", *BUS, nats_url)
    if sentence is None:
        assert ended.code == 1
        return
    assert ended.code == 1
    assert ended.out == ""
    assert sentence in ended.err
    assert ended.err.startswith("Error: ")
    assert ended.err.count("\n") == 1


@pytest.mark.integration
def test_an_unfinished_snapshot_is_a_note(nats_url: str, run: Run) -> None:
    asyncio.run(store(nats_url, payloads(), [_part(3, parts=2)]))
    ended = run("journal", "verify", *BUS, nats_url)
    assert (ended.code, ended.err) == (0, "note: the snapshot of event 3 has 1 of 2 parts; a start does not use it\n")


@pytest.mark.integration
def test_show_as_json_lines(nats_url: str, run: Run) -> None:
    asyncio.run(write_journal(nats_url))
    lines = [json.loads(line) for line in run("journal", "show", *BUS, nats_url, "--json").out.splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, 11))
    assert lines[4] == {
        "sequence": 5,
        "at": "2026-03-01T09:00:04.123456789Z",
        "at_unix_ns": "1772355604123456789",
        "kind": "OrderExecuted",
        "strategy": "ema",
        "symbol": "EUR-USD",
        "cl_ord_id": "ema-dj3k5m0p2q-1",
        "event": {
            "cl_ord_id": "ema-dj3k5m0p2q-1",
            "exec_id": "x1",
            "symbol": "EUR-USD",
            "side": "SIDE_SELL",
            "quantity": "1000",
            "price": FINE,
            "fee": "-0.10",
        },
    }


@pytest.mark.integration
def test_show_filters(nats_url: str, run: Run) -> None:
    asyncio.run(write_journal(nats_url))

    def shown(*arguments: str) -> list[int]:
        ended = run("journal", "show", *BUS, nats_url, "--json", *arguments)
        return [json.loads(line)["sequence"] for line in ended.out.splitlines()]

    assert shown("--strategy", "ema") == [2, 3, 5, 10]
    assert shown("--order", PAIR) == [4, 6, 7, 9]
    assert shown("--since", "2026-03-01T09:00:08Z") == [9, 10]
    assert shown("--last", "2") == [9, 10]


@pytest.mark.integration
def test_show_as_a_table(nats_url: str, run: Run) -> None:
    asyncio.run(write_journal(nats_url))
    ended = run("journal", "show", *BUS, nats_url, "--last", "3")
    heading, *rows = ended.out.splitlines()
    assert heading.split() == ["#", "Time", "Event", "Strategy", "Symbol", "ClOrdID", "Details"]
    assert [row.split()[:3] for row in rows] == [
        ["8", "2026-03-01T09:00:07.123456789Z", "OrderExecuted"],
        ["9", "2026-03-01T09:00:08.123456789Z", "OrderExecuted"],
        ["10", "2026-03-01T09:00:09.123456789Z", "RequestsRefused"],
    ]
    # What others wrote is never taken as markup.
    assert "[red]limit[/red]" in rows[2]
    assert ended.err == "the last 3 of 10 events; --last shows more\n"


@pytest.mark.integration
@pytest.mark.parametrize("name", ["journal.jsonl", "journal.parquet"])
def test_an_export_verifies_without_the_bus(nats_url: str, run: Run, tmp_path: Path, name: str) -> None:
    head = asyncio.run(write_journal(nats_url, snapshots_after=[3]))
    file = tmp_path / name
    ended = run("journal", "export", file, *BUS, nats_url)
    assert (ended.code, ended.out) == (0, f"events 1 to 10 are in {file}\n")
    ended = run("journal", "verify", file)
    assert (ended.code, ended.out) == (
        0,
        f"events 1 to 10 are as they were written; the last record has the hash {head.record_hash.hex()}\n",
    )
    on_bus = run("journal", "show", *BUS, nats_url, "--json").out
    assert run("journal", "show", file, "--json").out == on_bus


@pytest.mark.integration
def test_a_changed_export_does_not_verify(nats_url: str, run: Run, tmp_path: Path) -> None:
    asyncio.run(write_journal(nats_url))
    file = tmp_path / "journal.jsonl"
    run("journal", "export", file, *BUS, nats_url)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:1] + lines[3:]))
    ended = run("journal", "verify", file)
    assert (ended.code, ended.err) == (
        1,
        "Error: the journal is broken: the record after event 1 says that it begins with event 4\n",
    )
    file.write_text("".join(lines).replace(FINE, "1.1"))
    assert f"row 5 of {file} says something else" in run("journal", "verify", file).err


@pytest.mark.integration
def test_a_broken_journal_is_not_exported(nats_url: str, run: Run, tmp_path: Path) -> None:
    asyncio.run(store(nats_url, payloads()[:2] + payloads()[3:]))
    ended = run("journal", "export", tmp_path / "journal.parquet", *BUS, nats_url)
    assert ended.code == 1
    assert "the record after event 3 says that it begins with event 5" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_trim_removes_what_is_exported_and_covered(nats_url: str, run: Run, tmp_path: Path) -> None:
    asyncio.run(write_journal(nats_url, snapshots_after=[3, 4]))
    first, second = tmp_path / "first.parquet", tmp_path / "second.jsonl"
    ended = run("journal", "export", first, *BUS, nats_url, "--trim", "--yes")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[1] == "the journal on the bus begins with event 4 now"
    assert asyncio.run(stored_records(nats_url)) == 3
    assert asyncio.run(recovered_events(nats_url)) == EVENTS[7:]
    assert "events 4 to 10 are as they were written" in run("journal", "verify", *BUS, nats_url).out
    assert pq.read_table(first).num_rows == 10
    assert run("journal", "export", second, *BUS, nats_url).code == 0
    ended = run("journal", "verify", second)
    assert ended.code == 0
    assert ended.out.endswith("what came before is not in this file, so the first record is taken at its word\n")


@pytest.mark.integration
def test_a_journal_that_is_full_goes_on_once_the_script_of_the_docs_has_run(nats_url: str, tmp_path: Path) -> None:
    """docs/journals.md, as an administrator would run it."""
    (script,) = re.findall(r"^```sh\n(#!/bin/sh\n.*?)^```$", JOURNALS.read_text(), re.MULTILINE | re.DOTALL)
    command = tmp_path / "trim-journal"
    command.write_text(script)
    asyncio.run(make_stream(nats_url, max_bytes=256 * 1024))
    full, why = asyncio.run(fill_journal(nats_url))
    assert "is full" in why

    environment = {"PATH": f"{SCRIPTS}:{os.environ['PATH']}", "CROWETRADE_NATS": nats_url}
    ended = subprocess.run(
        ["/bin/sh", command, tmp_path, NAMESPACE, VENUE], env=environment, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    (exported,) = tmp_path.glob(f"{NAMESPACE}.{VENUE}.*.parquet")
    assert pq.read_table(exported).num_rows == full.sequence
    end, why = asyncio.run(fill_journal(nats_url, after=full))
    assert end.sequence - full.sequence > 500
    assert "is full" in why


@pytest.mark.integration
def test_trim_asks_first_and_needs_snapshots(nats_url: str, run: Run, tmp_path: Path) -> None:
    asyncio.run(write_journal(nats_url))
    ended = run("journal", "export", tmp_path / "one.jsonl", *BUS, nats_url, "--trim")
    assert (ended.code, ended.err) == (
        2,
        "Error: --trim deletes records of the journal from the bus: add --yes if that is meant\n",
    )
    assert list(tmp_path.iterdir()) == []
    ended = run("journal", "export", tmp_path / "one.jsonl", *BUS, nats_url, "--trim", "--yes")
    assert ended.code == 1
    assert "nothing was removed" in ended.err
    assert asyncio.run(stored_records(nats_url)) == 5


@pytest.mark.integration
def test_a_stream_that_is_not_there_is_named(nats_url: str, run: Run, tmp_path: Path) -> None:
    for command in (["verify"], ["show"], ["export", tmp_path / "x.jsonl"]):
        ended = run("journal", *command, "-n", "desk", "--venue", "other", "--nats", nats_url)
        assert ended.code == 1
        assert "stream CROWETRADE_JOURNAL_desk_other of the journal does not exist" in ended.err


def test_a_bus_that_is_not_there_is_named(run: Run) -> None:
    ended = run("journal", "verify", *BUS, "nats://127.0.0.1:1")
    assert ended.code == 1
    assert ended.err.startswith("Error: NATS at nats://127.0.0.1:1 cannot be reached (")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["verify"], "Error: --namespace and --venue say whose journal is meant: both are needed"),
        (["show", "--venue", "sim"], "both are needed"),
        (["export", "x.jsonl"], "both are needed"),
        (["verify", "x.jsonl", "-n", "desk"], "name either a file or, with --namespace and --venue, a journal"),
        (["verify", "no-such-file.jsonl"], "no-such-file.jsonl is no file"),
        (["verify", "x.csv"], "x.csv is no file: name an exported journal"),
        (["export", "x.csv", "-n", "desk", "--venue", "sim"], "x.csv has none of the extensions"),
        (["export", __file__, "-n", "desk", "--venue", "sim"], "exists: name a file that does not"),
        (["show", "x.jsonl", "--since", "noon"], "--since 'noon' is no time"),
        (["show", "x.jsonl", "--last", "0"], "Invalid value"),
        (["verify", "--unknown"], "No such option"),
        (["export", "x.jsonl", "--format", "csv"], "Invalid value"),
    ],
)
def test_wrong_use_is_exit_code_2(run: Run, arguments: list[str], sentence: str) -> None:
    ended = run("journal", *arguments)
    assert ended.code == 2
    assert sentence in " ".join(ended.err.split())
    assert ended.out == ""


@pytest.mark.parametrize("script", ["crowetrade", "kubectl-crowetrade"])
def test_each_console_script_runs(script: str) -> None:
    ended = subprocess.run([SCRIPTS / script, "journal", "--help"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert f"Usage: {script.replace('-', ' ')} journal" in ended.stdout
    assert all(command in ended.stdout for command in ("verify", "show", "export"))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kubectl_finds_its_plugin() -> None:
    ended = subprocess.run(
        ["kubectl", "crowetrade", "journal", "verify"],
        env={**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "--namespace and --venue say whose journal is meant" in ended.stderr
