"""A page as headless Chromium makes it. Tests skip where there is none."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PATIENCE_SECONDS = 60
_CONSOLE = re.compile(r"CONSOLE[:(]\d+[\])]+ (.*)")


def rendered(page: Path, *, width: int = 1000) -> tuple[str, list[str]]:
    """The page's elements when its scripts have run, and what they and Chromium wrote to the console."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    ended = subprocess.run(
        [
            program,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={page.parent / 'chromium'}",
            f"--window-size={width},900",
            "--enable-logging=stderr",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return ended.stdout, _CONSOLE.findall(ended.stderr)
