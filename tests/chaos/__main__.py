"""`python -m tests.chaos --rounds 200`: rounds in which processes are killed, and what they hit."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.rounds import WEIGHTS, rounds


def main() -> int:
    """Runs; the folder with the logs stays when it fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="a new one unless it is given")
    parser.add_argument("--kind", choices=list(WEIGHTS), default=None, help="rounds of this kind alone")
    arguments = parser.parse_args()
    seed = random.randrange(10**9) if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="crowetrade-chaos-"))
    print(f"seed {seed}, logs in {folder}", flush=True)
    report = asyncio.run(rounds(folder, seed, arguments.rounds, arguments.kind))
    print("\n".join(report.lines()))
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
