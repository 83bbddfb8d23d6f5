"""Looks up known vulnerabilities of what the images and the command install, by pip-audit: part of `make lint`.

pip-audit says "No known vulnerabilities found" even when its service knew none of the packages. Here a package counts
as checked only when the service answered for it. Ends with 1 when one is vulnerable. Where packages could not be
checked it says so, and ends with 1 only with `--required`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# The gateway's has all of the agents'.
REQUIREMENTS = ("requirements/gateway.txt", "requirements/operator.txt", "requirements/cli.txt")


@dataclass(frozen=True, slots=True)
class Report:
    """What the service said: sentences on the vulnerable, numbers of packages, and why some were not checked."""

    vulnerable: tuple[str, ...]
    checked: int
    unchecked: int
    why: str = ""

    @property
    def sentence(self) -> str:
        """The last line of the check. It says that nothing is known only when everything was checked."""
        if not self.complete:
            return f"advisories: NOT CHECKED: {self.unchecked or 'all'} packages, {self.checked} were ({self.why})"
        known = f"{len(self.vulnerable)} vulnerabilities" if self.vulnerable else "no vulnerability is known"
        return f"advisories: {self.checked} packages checked, {known}"

    @property
    def complete(self) -> bool:
        """Whether every package was checked."""
        return self.checked > 0 and not self.unchecked

    def exit_code(self, required: bool) -> int:
        """1 for a vulnerable package, and when not all were checked although that is required."""
        return int(bool(self.vulnerable) or (required and not self.complete))


def judge(answer: str, errors: str) -> Report:
    """What pip-audit's JSON says; without any, what it wrote instead."""
    try:
        found: list[dict[str, Any]] = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = errors.strip().splitlines()
        return Report((), 0, 0, lines[-1][:300] if lines else "pip-audit gave no answer")
    vulnerable = [
        f"{package['name']} {package['version']}: {flaw['id']}, mended in {' or '.join(flaw['fix_versions']) or 'none'}"
        for package in found
        for flaw in package.get("vulns", ())
    ]
    skipped = [package["skip_reason"] for package in found if "skip_reason" in package]
    return Report(tuple(vulnerable), len(found) - len(skipped), len(skipped), skipped[0] if skipped else "")


def joined(reports: Sequence[Report]) -> Report:
    """One report on several requirements files; one of which nothing is known leaves the whole incomplete."""
    incomplete = [report for report in reports if not report.complete]
    return Report(
        tuple(sorted({line for report in reports for line in report.vulnerable})),
        sum(report.checked for report in reports),
        sum(max(report.unchecked, 1) for report in incomplete),
        incomplete[0].why if incomplete else "",
    )


def ask(requirements: str) -> Report:
    """Runs pip-audit on a requirements file."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    try:
        ended = subprocess.run(
            [*command, "-f", "json", "-r", requirements], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
    except subprocess.TimeoutExpired:
        return Report((), 0, 0, "no answer within 120 s")
    return judge(ended.stdout, ended.stderr)


def main(arguments: list[str]) -> int:
    """Checks and prints."""
    parser = argparse.ArgumentParser(prog="python -m tools.advisories", description=__doc__)
    parser.add_argument("--required", action="store_true", help="fail when a package could not be checked")
    required = parser.parse_args(arguments).required
    with ThreadPoolExecutor() as pool:
        report = joined(list(pool.map(ask, REQUIREMENTS)))
    for line in report.vulnerable:
        print(line)
    print(report.sentence)
    return report.exit_code(required)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
