"""A desk on this machine for tests: manifests, recordings and state in a folder, and `crowetrade run` as a user starts
it, a process of its own."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from crowetrade_agents.journal.sqlite import SqliteReader
from crowetrade_api_tests.samples import UNSET, change, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_cli.journal.rows import Row, rows_of

Object = dict[str, Any]
PATIENCE_SECONDS = 60
MINUTE_NS = 60_000_000_000
HOUR_NS = 3_600_000_000_000
FIRST_NS = 1_483_315_200_000_000_000


class Desk:
    """A folder with manifests, recordings and state, and the process that runs there now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests = folder / "manifests"
        self.journal = folder / "state" / "desk" / "sim-fx.journal"
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self._reader: threading.Thread | None = None
        self._grew = threading.Condition()

    def write(self, *manifests: Object) -> None:
        """One file per manifest, named as it is."""
        self.manifests.mkdir(parents=True, exist_ok=True)
        for manifest in manifests:
            name = f"{manifest['kind']}-{manifest['metadata']['name']}.yaml".lower()
            (self.manifests / name).write_text(yaml.safe_dump(manifest))

    def start(
        self,
        *arguments: str,
        manifests: str = "manifests",
        state: str = "state",
        data: str = "data",
        cwd: Path | None = None,
        output: str = "",
    ) -> None:
        """`crowetrade run` with these arguments besides the folders. With `output` it writes to that file."""
        cwd = cwd or self.folder
        program = str(Path(sys.executable).parent / "crowetrade")
        command = [program, "run", manifests, "--state", state, "--data", data, *arguments]
        self.lines = []
        with open(cwd / output, "wb") if output else nullcontext(subprocess.PIPE) as stdout:
            self.process = subprocess.Popen(command, cwd=cwd, stdout=stdout, stderr=subprocess.STDOUT, text=True)
        read = self.process.stdout or _followed(cwd / output, self.process)
        self._reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._reader.start()

    def _read(self, written: Iterable[str]) -> None:
        for line in written:
            with self._grew:
                self.lines.append(line.rstrip("\n"))
                self._grew.notify_all()

    def until(self, pattern: str, times: int = 1) -> str:
        """The line that matches, once so many have been written; fails after a deadline."""

        def found() -> list[str]:
            return [line for line in self.lines if re.search(pattern, line)]

        with self._grew:
            assert self._grew.wait_for(lambda: len(found()) >= times, PATIENCE_SECONDS), "\n".join(self.lines)
            return found()[times - 1]

    def interrupt(self) -> int:
        """As Ctrl-C; the exit code. All that it has written is in `lines` then."""
        assert self.process is not None
        assert self._reader is not None
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert not self._reader.is_alive(), "somebody keeps its output open"
        return code

    def end(self) -> None:
        """Kills what still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def rows(self, kind: str) -> list[Row]:
        """Events of the venue's journal."""
        return [row for payload in SqliteReader(self.journal).records() for row in rows_of(payload) if row.kind == kind]

    def position(self) -> Decimal:
        """Bought less sold, by the journal."""
        total = Decimal(0)
        for row in self.rows("OrderExecuted"):
            sign = 1 if row.event["side"] == "SIDE_BUY" else -1
            total += sign * Decimal(str(row.event["quantity"]))
        return total


def _followed(file: Path, process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of a file, until the process that writes it has ended."""
    with file.open() as written:
        line, ended = "", False
        while not ended:
            ended = process.poll() is not None
            while part := written.readline():
                line += part
                if line.endswith("\n"):
                    yield line
                    line = ""
            time.sleep(0.05)


VENUE = change(
    change(
        venue_manifest(), "spec.simulated.data", [{"symbol": "EUR-USD", "configMap": {"name": "waves", "key": "q.csv"}}]
    ),
    "spec.simulated.replay",
    {"speed": "36000", "loop": True, "maxGapSeconds": "3600"},
)
STRATEGY = change(
    change(strategy_manifest(), "spec.model.parameters", {"fast": 2, "slow": 5}), "spec.policy.entryGate", UNSET
)
WIDE = {
    "maxOrderQuantity": "5000000",
    "maxPositionQuantity": "9000000",
    "maxOrderRate": {"count": 100_000, "perSeconds": 1},
}
LIMIT = change(limit_manifest(), "spec.limits", WIDE)
WAVES = [1.1 + 0.005 * math.sin(number / 6) for number in range(400)]


def desk_of_waves(folder: Path) -> Desk:
    """Ten quotes a second of a price that swings, a strategy that follows it, and a limit."""
    made = Desk(folder)
    made.write(VENUE, STRATEGY, LIMIT)
    record(folder / "data", WAVES, HOUR_NS)
    return made


def record(data: Path, bids: Iterable[float], every_ns: int = MINUTE_NS) -> None:
    """Writes the recording of VENUE below the folder of data."""
    recording = data / "waves" / "q.csv"
    recording.parent.mkdir(parents=True, exist_ok=True)
    rows = ["ts_ns,bid_px,bid_sz,ask_px,ask_sz"]
    for number, bid in enumerate(bids):
        rows.append(f"{FIRST_NS + number * every_ns},{bid:.5f},5000000,{bid + 0.00002:.5f},5000000")
    recording.write_text("\n".join(rows) + "\n")
