"""Manifests from files, folders and standard input, as `kubectl apply -f` finds them."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from crowetrade_cli.errors import Failed
from crowetrade_cli.manifests.selection import KUSTOMIZATIONS, Reading, select, skipped_kustomization
from crowetrade_cli.manifests.yaml_text import documents

EXTENSIONS = (".json", ".yaml", ".yml")
STANDARD_INPUT = "-"
MAX_FILE_BYTES = 4 * 1024 * 1024
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def read(
    sources: Sequence[str], namespace: str = "default", recursive: bool = False, standard_input: BinaryIO | None = None
) -> Reading:
    """Our manifests of all sources: paths of files and folders, and - for standard input.

    What is not ours is left out with a note. Raises Failed with a sentence that names file and line.
    """
    notes: list[str] = []
    files = []
    for source in sources:
        if source == STANDARD_INPUT:
            data = standard_input.read(MAX_FILE_BYTES + 1) if standard_input else from_standard_input()
            files.append(("standard input", documents(_text(data, "standard input"), "standard input")))
            continue
        for path in _files(Path(source), recursive):
            if path.name in KUSTOMIZATIONS:
                notes.append(skipped_kustomization(str(path)))
            else:
                files.append((str(path), documents(_text(_bytes(path), str(path)), str(path))))
    found = select(files, namespace)
    return Reading(found.manifests, (*notes, *found.notes), found.namespaces)


def from_standard_input() -> bytes:
    """What is there, and no more than shows that it is too long. Raises Failed when it is closed."""
    if sys.stdin is None:
        raise Failed("standard input is closed: write manifests to it, or name files or folders instead of -")
    return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)


def _files(path: Path, recursive: bool) -> Iterator[Path]:
    """The file itself whatever it is called, or the files of a folder that are named as manifests are."""
    if not path.exists():
        raise Failed(f'the path "{path}" does not exist')
    if not path.is_dir():
        yield path
        return
    found = list(manifests_in(path, recursive))
    if not found:
        raise Failed(f"{path}: no manifest in this folder; recognized file extensions are {' '.join(EXTENSIONS)}")
    yield from found


def manifests_in(folder: Path, recursive: bool = False) -> Iterator[Path]:
    """The files of a folder that are named as manifests are, but for the one that this process writes its own output
    to, as with `--json > run.json` in the folder of the manifests. Raises OSError."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_dir():
            if recursive and not path.is_symlink():
                yield from manifests_in(path, recursive)
        elif path.suffix in EXTENSIONS and not _is_own_output(path):
            yield path


def _is_own_output(path: Path) -> bool:
    for descriptor in (1, 2):
        try:
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return True
        except OSError:  # closed, or an editor has just replaced the file: reading it says more
            continue
    return False


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error


def _text(data: bytes, file: str) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise Failed(f"{file}: larger than {MAX_FILE_BYTES // 1024 // 1024} MiB, the most that a file may have")
    mark, encoding = next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise Failed(f"{file}: not text in {encoding.upper()} at byte {error.start + len(mark)}") from None
