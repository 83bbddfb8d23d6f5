"""What a program writes to a terminal."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from rich.text import Text


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
