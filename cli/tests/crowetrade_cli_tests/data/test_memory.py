"""A file ten times as long takes hardly more memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FEW, MANY = 200_000, 2_000_000
HEADER = "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
ALLOWED_KIB = 64 * 1024
"""Of 2 million rows, 1.8 more than of the few, a single column that is held as text takes 20 MiB and more, and this
allows what allocators keep."""


def generate(path: Path, rows: int) -> Path:
    with path.open("w") as file:
        file.write(HEADER)
        for start in range(0, rows, 100_000):
            file.writelines(
                f"{row},{61000 + row % 9973 / 100:.2f},0.{row % 997:03d}1,{row},{row},{1704067200000 + row * 7},true\n"
                for row in range(start, start + 100_000)
            )
    return path


COMMAND = """
import sys
from pathlib import Path
from crowetrade_cli.main import main
try:
    main(sys.argv[1:])
finally:
    print([line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")])
"""


def peak_kib(*arguments: str) -> int:
    """The largest resident memory of a command. What wait4 reports includes the parent's, from before exec."""
    command = [sys.executable, "-c", COMMAND, "data", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    match = re.search(r"VmHWM:\\t *([0-9]+) kB", ended.stdout)
    assert match is not None
    return int(match[1])


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux")
@pytest.mark.parametrize("command", ["inspect", "convert", "convert --sort"])
def test_memory_does_not_grow_with_the_file(command: str, tmp_path: Path) -> None:
    peaks = []
    for rows in (FEW, MANY):
        path = generate(tmp_path / f"{rows}.csv", rows)
        name, *options = command.split()
        out = ["--out", str(tmp_path / f"{rows}.parquet")] if name == "convert" else []
        peaks.append(peak_kib(name, str(path), *options, *out))
    few, many = peaks
    assert many < 300 * 1024
    assert many - few < ALLOWED_KIB
