"""The manifests that a run was started with: read, judged as the API server would, and looked at again."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from crowetrade_api.names import Kind
from crowetrade_cli.errors import Failed
from crowetrade_cli.local.wanted import Wanted, wanted
from crowetrade_cli.manifests.admission import Admitted, Manifest, judge
from crowetrade_cli.manifests.reading import STANDARD_INPUT, from_standard_input, manifests_in, read
from crowetrade_cli.manifests.selection import Found

PATIENCE_LOOKS = 10
"""A file that changes at every look, as one that another program writes to without end, holds up the others' changes
for so many looks, and is read whenever so many are over."""
Look = dict[str, tuple[int, int]]
"""Time of change and size of each file, by its name."""


class Sources:
    """Files and folders, and standard input, which is read once."""

    def __init__(self, paths: Sequence[str], namespace: str) -> None:
        """`namespace` is for manifests that name none. Raises Failed when standard input is closed."""
        self._paths = paths
        self._namespace = namespace
        self._standard_input = from_standard_input() if STANDARD_INPUT in paths else b""
        # When they were read last, when they were looked at last, and when they were last taken.
        self._seen: Look = {}
        self._last: Look = {}
        self._taken: Look = {}
        # How many looks in a row have found the file changed.
        self._restless: dict[str, int] = {}
        self.notes: tuple[str, ...] = ()
        """A sentence for each document that was left out when they were read last."""
        self.switches: tuple[str, ...] = ()
        """Where the KillSwitches stood when they were read last: file and line."""

    def read(self) -> Wanted:
        """What all of them want. Raises Failed with the API server's sentence about each manifest that it would
        refuse, after the manifest's place."""
        self._seen = self._last = self._look()
        reading = read(self._paths, self._namespace, standard_input=io.BytesIO(self._standard_input))
        self.notes = reading.notes
        found = wanted(admitted(reading.manifests, self._namespace), self._namespace, reading.namespaces)
        self._taken = self._seen
        self.switches = tuple(item.place for item in reading.manifests if item.manifest["kind"] == Kind.KILL_SWITCH)
        return found

    def switch_in_doubt(self) -> str:
        """After a reading that failed: a file that has changed since the last good one and mentions a KillSwitch, so
        that nobody knows whether it is engaged; empty where there is none."""
        for file in _different(self._seen, self._taken) & self._seen.keys():
            with contextlib.suppress(OSError):
                if Kind.KILL_SWITCH.encode() in Path(file).read_bytes():
                    return file
        return ""

    def changed(self) -> bool:
        """Whether a file has changed, come or gone since they were read last, and none has since the last call: an
        editor empties or removes a file before it writes it, and a strategy is not to be deleted for that. A file that
        never rests is waited for no longer than PATIENCE_LOOKS: another one may hold a KillSwitch."""
        before, self._last = self._last, self._look()
        self._restless = {file: self._restless.get(file, 0) + 1 for file in _different(before, self._last)}
        if any(looks < PATIENCE_LOOKS for looks in self._restless.values()):
            return False
        return any(not self._restless.get(file, 0) % PATIENCE_LOOKS for file in _different(self._seen, self._last))

    def _look(self) -> Look:
        """Every file that may be read."""
        found: Look = {}
        for path in (Path(text) for text in self._paths if text != STANDARD_INPUT):
            for file in _files(path):
                with contextlib.suppress(OSError):  # an editor replaces it; `read` names what cannot be read
                    stat = file.stat()
                    found[str(file)] = stat.st_mtime_ns, stat.st_size
        return found


def admitted(manifests: Iterable[Found], namespace: str) -> list[Manifest]:
    """The manifests as the API server would store them. Raises Failed with its sentence about each that it would
    refuse."""
    stored, refused = [], []
    for found in manifests:
        verdict = judge(found.manifest, namespace)
        if isinstance(verdict, Admitted):
            stored.append(verdict.manifest)
        else:
            refused.append(f"{found.place}: {verdict.message}")
    if refused:
        raise Failed("\n".join(refused))
    return stored


def _different(a: Look, b: Look) -> set[str]:
    return {file for file in a.keys() | b.keys() if a.get(file) != b.get(file)}


def _files(path: Path) -> list[Path]:
    try:
        return list(manifests_in(path)) if path.is_dir() else [path]
    except OSError:
        return [path]
