"""Writes the version of the file VERSION into every place that states it: packages, their needs of each other, chart.

A release is one set: each package asks for the others in exactly its own version.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("proto", "api", "process", "operator", "agents", "gateway", "cli")
# What comes before a version, by file; the version is all that follows up to a quote, a comma, a brace or white space.
STATED = {
    **{Path(package) / "pyproject.toml": r'^version = "|"crowetrade-[a-z]+(?:\[[a-z,]+\])?==' for package in PACKAGES},
    Path("charts/crowetrade/Chart.yaml"): r"^(?:version|appVersion): ",
    Path("charts/crowetrade/values.yaml"): r"docker\.io/crowetrade/[a-z]+, tag: ",
}


def write(root: Path) -> None:
    """Writes the files below `root` as they lie in the repository."""
    version = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
    for file, before in STATED.items():
        written = stated(version, before, (ROOT / file).read_text(encoding="utf-8"))
        target = root / file
        target.parent.mkdir(parents=True, exist_ok=True)
        # A file that says so already is left alone, because make compares its time with that of the environment.
        if not target.exists() or target.read_text(encoding="utf-8") != written:
            target.write_text(written, encoding="utf-8")


def stated(version: str, before: str, text: str) -> str:
    """The text with this version wherever it states one; ValueError when it states none."""
    changed, count = re.subn(rf'({before})[^",}}\s]+', rf"\g<1>{version}", text, flags=re.MULTILINE)
    if count == 0:
        raise ValueError(f"no version found after {before}")
    return changed
