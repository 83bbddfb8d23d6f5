"""`crowetrade run` of the samples in a terminal of the usual size: what matters is among the lines that it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from crowetrade_api_tests.samples import change, kill_manifest
from crowetrade_cli.samples import sample_manifests
from crowetrade_cli_tests.desk import PATIENCE_SECONDS
from crowetrade_cli_tests.terminal import read, tables

COLUMNS, LINES = 80, 24
FILL = re.compile(r"^ *(\d\d:\d\d:\d\d) .*(Buy|Sell)", re.MULTILINE)


class Terminal:
    """The run, and the tables that it has shown."""

    def __init__(self, folder: Path) -> None:
        self._terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        program = str(Path(sys.executable).parent / "crowetrade")
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [program, "run", "manifests", "--state", "state"],
            cwd=folder,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=environment | {"TERM": "xterm-256color"},
        )
        os.close(inside)
        self._written = ""
        self._grew = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for content in read(self._terminal):
            with self._grew:
                self._written += content.decode(errors="replace")
                self._grew.notify_all()

    def until(self, pattern: str, absent: bool = False) -> str:
        """The newest whole table, once it has what matches, or none of it."""

        def shown() -> str:
            # The last one may not be all there.
            return "".join(table.plain for table in tables(self._written)[-2:-1])

        def there() -> bool:
            return bool(shown()) and (re.search(pattern, shown()) is None) == absent

        with self._grew:
            assert self._grew.wait_for(there, PATIENCE_SECONDS), shown()
            return shown()

    def all_tables(self) -> list[str]:
        """Those that were written over by another one."""
        with self._grew:
            return [table.plain for table in tables(self._written)[1:-1]]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    (tmp_path / "manifests").mkdir()
    for file in sample_manifests():
        shutil.copy(file, tmp_path / "manifests")
    made = Terminal(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
    made.process.wait()


def test_what_matters_is_seen_in_80_columns_and_24_lines(terminal: Terminal, tmp_path: Path) -> None:
    times = [match[1] for match in FILL.finditer(terminal.until(FILL.pattern.replace("^", "(?m)^")))]
    assert times == sorted(times, reverse=True)

    strategy = tmp_path / "manifests" / "strategy-pair.yaml"
    text = strategy.read_text()
    strategy.write_text(yaml.safe_dump(change(yaml.safe_load(text), "spec.mode", "Yolo")))
    refused = terminal.until("What runs goes on as it was")
    assert 'Unsupported value: "Yolo"' in " ".join(refused.split())
    strategy.write_text(text)
    terminal.until("The manifests have changed and are taken over")
    terminal.until("The manifests have changed|What runs goes on", absent=True)

    switch = change(kill_manifest("all", "default", engaged=True), "spec.reason", "drill")
    (tmp_path / "manifests" / "killswitch-all.yaml").write_text(yaml.safe_dump(switch))
    assert terminal.until("KillSwitch all").startswith("Stopped until a person has looked")

    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(PATIENCE_SECONDS) == 0
    shown = terminal.all_tables()
    assert any("Ctrl-C leaves at once" in " ".join(table.split()) for table in shown)
    assert max(table.count("\n") + 1 for table in shown) <= LINES
