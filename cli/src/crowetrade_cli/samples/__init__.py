"""What comes with the command: the sample manifests, and the recordings that they play.

The manifests are links to those at the top of the repository; a wheel holds them as files. The recordings are no part
of the repository: `make` writes them here out of a package that ships real prices (images/sample_data.py), and the
wheel takes them along.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
INSTALLED_SAMPLES = _FOLDER / "recordings"


def sample_manifests() -> list[Path]:
    """The files, by name."""
    return sorted(_FOLDER.glob("*.yaml"))
