"""The Chromium that the tests of pages drive: finds it, and installs Debian's where that is possible.

Debian keeps one version per release, the newest with its security fixes, so no version is pinned.
"""

from __future__ import annotations

import shutil
import sys

from tools.localcluster.errors import ClusterError
from tools.localcluster.host import can_install, install_packages, missing_sentence

COMMANDS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium-headless-shell", "fonts-inter")
"""The font is what the pages prefer; with it pictures look alike on every machine."""
MISSING = f"no Chromium was found. {missing_sentence(PACKAGES)}"


def chromium() -> str | None:
    """The program, the smallest one first; None when there is none."""
    return next((found for command in COMMANDS if (found := shutil.which(command))), None)


def main() -> int:
    """Installs it when it is missing. Where nothing can be installed its tests are skipped, and this says so."""
    if chromium() is not None:
        return 0
    if not can_install():
        print(f"Tests of pages will be skipped: {MISSING}", file=sys.stderr)
        return 0
    try:
        install_packages(PACKAGES)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
