"""Handshakes that the TLS library of nats-server refuses: it tells nobody, and writes a line to its log.

nats-server logs to one place. So it logs to a file, and that is read from beside it: each line goes on to standard
output, and each refusal is counted and told. How far it was read is kept in a file, and what nats-server has rotated
away is read to its end first, so that neither a restart of the reader nor a rotation leaves out a line or counts it
twice.

A line holds the subject of the certificate, in which somebody whom no authority of ours knows has written what they
liked, line ends too: what a refusal says is a claim.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import structlog

from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.peer import Reason, Refusal

LOOK_SECONDS = 0.5
"""Between two looks at the file."""
PLACE_SUFFIX = "-read"
"""Of the file beside the log that says how far it was read."""

MAX_SAID = 512
"""Characters of the library's text that are reported; the end has the SHA-256 of the certificate."""

_MAX_ADDRESS = 64
_ERROR, _HANDSHAKE = " [ERR] ", " handshake error: "
_BY_THE_PEER = "remote error: "
"""It is the peer that has refused us."""
_OUT_OF_TIME = "x509: certificate has expired or is not yet valid: current time "
_REASONS = (
    ((_OUT_OF_TIME, " is before "), Reason.NOT_YET_VALID),
    ((_OUT_OF_TIME,), Reason.EXPIRED),
    (("tls: failed to verify certificate: ",), Reason.FOREIGN_AUTHORITY),
    (("tls: client didn't provide a certificate",), Reason.NO_CERTIFICATE),
    (("tls: client offered only unsupported versions",), Reason.OLD_PROTOCOL),
)
"""By all that Go's TLS library says, the first that is found."""

log = structlog.get_logger(__name__)


def refusal_in(line: str) -> Refusal | None:
    """Why a handshake was refused of which this line tells; nothing for any other line."""
    before, _, said = line.partition(_HANDSHAKE)
    if "TLS" not in before or said.startswith(_BY_THE_PEER):
        return None
    address = before.partition(_ERROR)[2].partition(" ")[0][:_MAX_ADDRESS]
    found = (
        Refusal(reason, f"the TLS handshake with {address or 'somebody'} failed: {_shortened(said)}")
        for texts, reason in _REASONS
        if all(text in said for text in texts)
    )
    return next(found, None)


def _shortened(said: str) -> str:
    half = MAX_SAID // 2
    return said if len(said) <= MAX_SAID else f"{said[:half]} ... {said[-half:]}"


async def follow(path: Path, identity: Identity) -> None:
    """Prints the lines of a log and counts what they say was refused, until it is cancelled: then what is there is read
    to its end."""
    reader = LogReader(path)
    try:
        while True:
            _pass_on(reader, identity)
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        _pass_on(reader, identity)
        reader.close()


def _pass_on(reader: LogReader, identity: Identity) -> None:
    try:
        for line in reader.new_lines():
            sys.stdout.write(f"{line}\n")
            refusal = refusal_in(line)
            if refusal is not None:
                identity.refuse(refusal.reason, refusal.text)
        sys.stdout.flush()
    except OSError as error:
        log.error("log_not_read", path=str(reader.path), error=str(error))


class LogReader:
    """Reads a file that another process writes to and rotates: PATH is renamed to PATH.TIME, and made again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._place = path.with_name(f"{path.name}{PLACE_SUFFIX}")
        self._file: FileIO | None = None
        self._offset = 0

    def close(self) -> None:
        """Ends reading; another reader goes on where this one was."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def new_lines(self) -> Iterator[str]:
        """The lines that are new; one that is not at its end yet waits. Raises OSError."""
        if self._file is None and not self._resume():
            return
        begun = self._offset, self._number()
        while True:
            # What comes after the one that is read here is known first: then nothing is written to this one any more.
            following = self._following()
            yield from self._lines(whole=following is not None)
            if following is None or not self._open(*following):
                break
        if (self._offset, self._number()) != begun:
            self._remember()

    def _lines(self, whole: bool) -> Iterator[str]:
        assert self._file is not None
        self._file.seek(self._offset)
        content = self._file.readall()
        end = len(content) if whole else content.rfind(b"\n") + 1
        self._offset += end
        for line in content[:end].splitlines():
            yield line.decode(errors="backslashreplace")

    def _number(self) -> int:
        """The number of the file that is open."""
        assert self._file is not None
        return os.fstat(self._file.fileno()).st_ino

    def _following(self) -> tuple[Path, int] | None:
        """The file after the one that is open, with its number."""
        files = self._files()
        numbers = [number for _, number in files]
        if self._number() in numbers:
            return next(iter(files[numbers.index(self._number()) + 1 :]), None)
        if files:
            log.warning("log_lines_lost", path=str(self.path), why="files were removed before they were read")
        return next(iter(files), None)

    def _files(self) -> list[tuple[Path, int]]:
        """All of them, oldest first. The newest is looked at first: when it is rotated meanwhile, it is found among
        the others, and what follows it at the next look."""
        newest = _number_of(self.path)
        found = {_number_of(path): path for path in sorted(self.path.parent.glob(f"{self.path.name}.*"))}
        if newest is not None:
            found.setdefault(newest, self.path)
        return [(path, number) for number, path in found.items() if number is not None]

    def _open(self, path: Path, number: int, offset: int = 0) -> bool:
        """Whether the file of this number was still there."""
        try:
            file = FileIO(path)
        except FileNotFoundError:
            return False
        if os.fstat(file.fileno()).st_ino != number:
            file.close()
            return False
        self.close()
        self._file, self._offset = file, offset
        return True

    def _resume(self) -> bool:
        """Opens the file where the last reader was, or the oldest; whether there is one."""
        files = self._files()
        if not files:
            return False
        number, offset = self._remembered()
        place = next((item for item in files if item[1] == number and item[0].stat().st_size >= offset), None)
        return self._open(*place, offset) if place is not None else self._open(*files[0])

    def _remembered(self) -> tuple[int, int]:
        try:
            number, offset = map(int, self._place.read_text(encoding="ascii").split())
        except (FileNotFoundError, ValueError):
            return 0, 0
        return number, offset

    def _remember(self) -> None:
        temporary = self._place.with_name(f".{self._place.name}")
        temporary.write_text(f"{self._number()} {self._offset}", encoding="ascii")
        temporary.replace(self._place)


def _number_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
