"""Where the console scripts begin.

What a command needs takes a second to import, on a busy machine several. Ctrl-C before it is there ends the command
with a sentence and the exit code of an interrupted program, as it does later.
"""

from __future__ import annotations

import sys

INTERRUPTED = 130
"""What a shell says of a program that ended by SIGINT."""


def main() -> None:
    """`crowetrade` and `kubectl crowetrade`."""
    try:
        from crowetrade_cli.main import main as run

        run()
    except KeyboardInterrupt:
        _interrupted()


def complete() -> None:
    """`kubectl_complete-crowetrade WORD...`: kubectl runs it for `kubectl crowetrade WORD...` and TAB."""
    try:
        from crowetrade_cli.main import complete as run

        run()
    except KeyboardInterrupt:
        _interrupted()


def _interrupted() -> None:
    print("Interrupted before anything was done.", file=sys.stderr)  # noqa: T201
    sys.exit(INTERRUPTED)
