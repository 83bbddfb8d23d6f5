"""docs/models.md does what it says: its code blocks are used in their order, as a reader would.

A block whose first line is a comment with a path is that file. Another block of Python is run, one of shell commands is
typed, in the folder where the one before it ended.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.repository.environments import COMMAND, ROOT, environment_of, run

pytestmark = pytest.mark.integration

GUIDE = ROOT / "docs" / "models.md"


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    text: str

    @property
    def file(self) -> str:
        """The path in the first line, empty without one."""
        found = re.match(r"# (\S+\.(?:py|yaml))\n", self.text)
        return found[1] if found else ""


def _blocks(text: str) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def _follow(blocks: list[Block], commands: Path, folder: Path) -> str:
    """What all of them wrote."""
    written = []
    ended = folder / ".ended"
    here = folder
    for block in blocks:
        if block.file:
            (here / block.file).parent.mkdir(parents=True, exist_ok=True)
            (here / block.file).write_text(block.text)
        elif block.language == "python":
            written.append(run(commands / "python", "-c", block.text, cwd=here))
        else:
            assert block.language == "sh", f"nobody tries a block of {block.language or 'no language'}"
            script = f"set -euo pipefail\n{block.text}\npwd > {ended}\n"
            written.append(run("bash", "-c", script, cwd=here, path=commands))
            here = Path(ended.read_text().strip())
    return "".join(written)


def test_the_guide_can_be_followed(wheels: Path, tmp_path: Path) -> None:
    commands = environment_of(COMMAND, wheels, tmp_path / "venv") / "bin"
    written = _follow(_blocks(GUIDE.read_text()), commands, tmp_path)
    assert len(re.findall(r"\d+ passed", written)) == 2
    assert re.search(r"my-alpha: (Buy|Sell) \d+ EUR-USD", written)
    assert "OrderExecuted" in written
    assert re.search(r"Counter\({'Forecast': \d{4}, 'WarmingUp': 20}\)", written)
