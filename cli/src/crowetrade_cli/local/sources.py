"""The files that a run was started with: read, judged, and looked at again when they change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from crowetrade_cli.local.wanted import Wanted, wanted


class Sources:
    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._seen = self._fingerprint()

    def read(self) -> Wanted:
        self._seen = self._fingerprint()
        docs = []
        for path in self._files():
            docs += [d for d in yaml.safe_load_all(path.read_text()) if d]
        return wanted(docs)

    def changed(self) -> bool:
        return self._fingerprint() != self._seen

    def _files(self) -> list[Path]:
        found: list[Path] = []
        for text in self._paths:
            path = Path(text)
            if path.is_dir():
                found += sorted(path.glob("*.yaml"))
            else:
                found.append(path)
        return found

    def _fingerprint(self) -> list[tuple[str, int, int]]:
        return [(str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in self._files()]
