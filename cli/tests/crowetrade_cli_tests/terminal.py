"""A terminal of the usual size, and what a program writes to it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from crowetrade_cli_tests.desk import PATIENCE_SECONDS

COLUMNS, LINES = 80, 24
CROWETRADE = str(Path(sys.executable).parent / "crowetrade")
FILL = re.compile(r"(?m)^ *(\d\d:\d\d:\d\d) .*(Buy|Sell)")
"""An execution in the table of a run."""


class Terminal:
    """A program in a terminal, and the tables that it has shown. Nothing of the tests' own terminal reaches it."""

    def __init__(self, folder: Path, *command: str, columns: int = COLUMNS) -> None:
        self._terminal, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
        hidden = ("COLUMNS", "LINES", "NO_COLOR")
        environment = {
            name: value for name, value in os.environ.items() if name not in hidden and not name.startswith("MAKE")
        }
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env=environment | {"TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(inside)
        self._written = ""
        self._grew = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

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

    def interrupt(self) -> None:
        """As Ctrl-C does: the program and what it has started get the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def written(self) -> str:
        """All of it, once the program has ended."""
        self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        return self._written

    def end(self) -> None:
        """Whatever still runs in it."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def read(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal, until its last program has left it."""
    try:
        while content := os.read(terminal, 65_536):
            yield content
    except OSError:  # Linux: nobody has the other end any more
        return
    finally:
        os.close(terminal)


def tables(written: str) -> list[Text]:
    """What a live table has shown: each but the first is written over the one before it, whose lines it erases."""
    parts = re.split(r"(?:\x1b\[1A\x1b\[2K)+", written.replace("\r\n", "\n"))
    return [Text.from_ansi(part.rstrip()) for part in parts]
