"""The encoding of a text file, and its bytes as UTF-8 without byte order mark."""

from __future__ import annotations

import codecs
import io
from typing import IO, cast

from crowetrade_cli.errors import Failed, WrongUse

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CHUNK = 256 * 1024


def marked_encoding(start: bytes) -> str:
    """The encoding that a byte order mark tells; empty without one."""
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "")


def encoding_of(start: bytes) -> str | None:
    """The encoding of text without a mark, None when it is no text: UTF-8, or UTF-16 where every second byte is 0, for
    market data is ASCII but for its names."""
    if b"\0" not in start:
        return "utf-8"
    pairs = start[: len(start) // 2 * 2]
    if not pairs[1::2].strip(b"\0") and b"\0" not in pairs[::2]:
        return "utf-16-le"
    if not pairs[::2].strip(b"\0") and b"\0" not in pairs[1::2]:
        return "utf-16-be"
    return None


def check_encoding(name: str) -> None:
    """Raises WrongUse for an encoding that Python does not know, and for what it knows that is none of text."""
    try:
        b"1".decode(name, errors="replace")
    except (LookupError, UnicodeError) as error:
        raise WrongUse(f"--encoding {name} is not known: write utf-8, utf-16, cp1252, ...") from error


class Utf8(io.RawIOBase):
    """A text stream as UTF-8. `what` names it in messages."""

    def __init__(self, stream: IO[bytes], encoding: str, what: str) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding = encoding
        self._what = what
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._ended:
            chunk = self._stream.read(_CHUNK)
            self._ended = not chunk
            self._ready = self._decode(chunk)
        taken = self._ready[: len(buffer)]
        self._ready = self._ready[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def _decode(self, chunk: bytes) -> bytes:
        if self._encoding == "utf-8" and chunk.isascii() and not self._decoder.getstate()[0]:
            return chunk
        try:
            return self._decoder.decode(chunk, final=self._ended).encode()
        except UnicodeError as error:
            raise Failed(not_text(self._what, self._encoding)) from error


def as_utf8(stream: IO[bytes], encoding: str, what: str) -> IO[bytes]:
    """The stream as UTF-8 without byte order mark. Raises Failed while it is read where it is no text."""
    return cast(IO[bytes], io.BufferedReader(Utf8(stream, encoding, what), _CHUNK))


def not_text(what: str, encoding: str) -> str:
    """The sentence for bytes that are not text in the encoding."""
    return f"{what} is not text in {encoding.upper().removesuffix('-SIG')}: write its encoding, as --encoding cp1252"
