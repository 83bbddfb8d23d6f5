"""`python -m benchmarks`: measures and appends one JSON line a figure to benchmarks/results/<time>.jsonl.

Each figure: name, value, unit, machine, revision; latencies as p50, p99 and max, in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.gateway import gate, order_round_trip
from benchmarks.operator import reconcile


def main() -> None:
    """Runs every benchmark, prints and keeps the figures."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        server = Path(sys.executable).parent / "nats-server"
        settings = Path(folder) / "nats.conf"
        settings.write_text(f'jetstream {{ store_dir: "{folder}", sync_interval: always }}\n')
        process = subprocess.Popen(
            [server, "-c", settings, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "Server is ready" in line:
                    break
            figures = [*gate(), *reconcile(), *asyncio.run(order_round_trip(f"nats://127.0.0.1:{port}"))]
        finally:
            process.terminate()
            process.communicate()
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    python = platform.python_version()
    common = {
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores, Python {python}",
        "revision": git.stdout.strip(),
    }
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    with (results / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl").open("w") as out:
        for figure in figures:
            line = json.dumps(figure | common)
            print(line)
            out.write(line + "\n")


if __name__ == "__main__":
    main()
