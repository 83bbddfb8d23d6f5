"""Files as streams of plain bytes: decompressed, out of their archive, never whole in memory.

The compression is recognised by the first bytes, not by the name.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import pyarrow

from crowetrade_cli.errors import Failed, WrongUse

_LONGEST_MAGIC = 6


@dataclass(frozen=True, slots=True)
class Input:
    """One stream of data: a file, or a member of a zip archive. `name` is what the data's format may be read from."""

    path: Path
    member: str = ""

    @property
    def name(self) -> str:
        """The name of the member or, of a file, its own without the suffix of its compression."""
        if self.member:
            return self.member.rsplit("/", 1)[-1]
        return self.path.stem if self.path.suffix in {".gz", ".zst", ".bz2", ".xz"} else self.path.name

    @property
    def shown(self) -> str:
        """How messages name it."""
        return f"{self.path.name} ({self.member})" if self.member else self.path.name


def find_input(path: Path, member: str = "") -> Input:
    """The one stream that a path holds. Raises WrongUse when an archive holds several and none is chosen."""
    if not path.exists():
        raise WrongUse(f"{path} does not exist: name a file of market data")
    if not path.is_file():
        raise WrongUse(f"{path} is not a file: name each file of market data")
    if not _starts(path).startswith(b"PK"):
        if member:
            raise WrongUse(f"{path.name} is not a zip archive: leave --member out")
        return Input(path)
    with _archive(path) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir() and _is_data(info.filename)]
    if member:
        if member not in names:
            raise WrongUse(f"{path.name} has no member {member}: it holds {_listed(names)}")
        return Input(path, member)
    if len(names) != 1:
        raise WrongUse(f"{path.name} holds {_listed(names) or 'no file'}: choose one with --member")
    return Input(path, names[0])


@contextmanager
def open_input(source: Input) -> Iterator[IO[bytes]]:
    """The decompressed bytes. Raises Failed while it is read, too, when the compressed data is damaged."""
    try:
        if source.member:
            with _archive(source.path) as archive, archive.open(source.member) as stream:
                yield stream
        else:
            with source.path.open("rb") as file:
                yield _decompressed(file)
    except _DAMAGED as error:
        raise Failed(f"{source.shown} is damaged: {error}; get the file again") from error
    except OSError as error:
        # Those of the system have a number; Arrow raises one without for a damaged stream.
        if error.errno is not None:
            raise
        raise Failed(f"{source.shown} is damaged: {error}; get the file again") from error
    except NotImplementedError as error:
        raise Failed(f"{source.shown} is compressed in a way that is not known here: unpack it before") from error
    except RuntimeError as error:
        if "password" not in str(error):
            raise
        raise Failed(f"{source.shown} is encrypted: decrypt it before") from error


_DAMAGED = (zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error, EOFError)


def _gzip(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=file))


def _zstd(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], pyarrow.CompressedInputStream(file, "zstd"))


def _bz2(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], bz2.BZ2File(file))


def _xz(file: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], lzma.LZMAFile(file))


_OPENERS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": _gzip,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"BZh": _bz2,
    b"\xfd7zXZ\0": _xz,
}


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    start = file.read(_LONGEST_MAGIC)
    file.seek(0)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return opener(file)
    return file


def _starts(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST_MAGIC)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise Failed(f"{path.name} is a damaged zip archive: {error}; get the file again") from error


def _is_data(name: str) -> bool:
    """Whether a member is no checksum, text about the data, or what a Mac adds."""
    return not name.startswith("__MACOSX/") and not name.lower().endswith((".checksum", ".md", ".pdf", ".ds_store"))


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown
