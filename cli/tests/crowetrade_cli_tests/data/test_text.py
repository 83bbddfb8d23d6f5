"""Text of any encoding is UTF-8 afterwards, or refused."""

from __future__ import annotations

import io

import pytest

from crowetrade_cli.data.text import as_utf8, encoding_of
from crowetrade_cli.errors import Failed


class InPieces(io.BytesIO):
    """Gives one byte at a time, as a slow stream may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_characters_may_be_cut_anywhere(encoding: str) -> None:
    text = "Größe,1\nà,2\n"
    assert as_utf8(InPieces(text.encode(encoding)), encoding, "data.csv").read() == text.encode()


@pytest.mark.parametrize("content", [b"a\xffb", b"a\xc3", b"a\xc3b"])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(Failed, match="is not text in UTF-8: write its encoding"):
        as_utf8(InPieces(content), "utf-8", "data.csv").read()


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"time,price", "utf-8"),
        ("time,price".encode("utf-16-le"), "utf-16-le"),
        ("time,price".encode("utf-16-be"), "utf-16-be"),
        (b"\x00\x01\x02\x00", None),
    ],
)
def test_the_encoding_is_told_without_a_mark(content: bytes, wanted: str | None) -> None:
    assert encoding_of(content) == wanted
