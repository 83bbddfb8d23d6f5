"""The folder that a desk keeps between runs: a journal per venue and the log. One process at a time has it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.journal.files import JOURNAL_SUFFIX
from crowetrade_cli.local.wanted import Address

NAME = "local"
"""What a gateway and a strategy are called here, where a pod has its own name."""
LOCK = "lock"
LOG = "run.log"


class State:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the folder and keeps others out; raises Failed when another process has it, WrongUse when it is a
        file."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise WrongUse(f"{self.folder} is a file, or below one: --state takes a folder") from None
        with (self.folder / LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failed(
                    f"another crowetrade run works with {self.folder}: stop it, or name another folder with --state"
                ) from None
            yield

    @property
    def log(self) -> Path:
        """Where the log goes."""
        return self.folder / LOG

    def journal(self, venue: Address) -> Path:
        """The file of a venue's journal; its folder is made."""
        folder = self.folder / venue.namespace
        folder.mkdir(exist_ok=True)
        return folder / f"{venue.name}{JOURNAL_SUFFIX}"
