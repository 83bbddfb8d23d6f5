"""What is kept of a run: each figure is written as soon as it is measured, so that a run that ends early has lost none.

While a part is measured its figures are in results/TIME-PART-incomplete.jsonl, and they stay there when anything was
left out. Of a complete run they are in results/TIME-PART.jsonl, and take the place of those of its part in
latest.jsonl, which nothing else writes.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Measure, NotMeasurable, line

RESULTS = Path(__file__).parent / "results"
LATEST = "latest.jsonl"
"""The figures of the newest complete run of each part, part after part."""


def record(part: str, measures: Mapping[str, Measure], results: Path = RESULTS) -> bool:
    """Measures, prints and keeps; what fails is left out, and the rest is measured all the same. Returns whether
    nothing was left out."""
    kept = results / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{part}-incomplete.jsonl"
    # By name: why. Whoever stops the run leaves out what has not been measured by then.
    left_out = dict.fromkeys(measures, "stopped")
    try:
        for name, measure in measures.items():
            left_out[name] = _measured(part, measure, kept)
            if not left_out[name]:
                del left_out[name]
    finally:
        if left_out:
            print(_incomplete(part, left_out, kept), file=sys.stderr, flush=True)
    if not left_out:
        kept = kept.rename(results / f"{kept.name.removesuffix('-incomplete.jsonl')}.jsonl")
        _take_over(part, kept.read_text().splitlines(), results / LATEST)
    return not left_out


def _take_over(part: str, lines: Sequence[str], latest: Path) -> None:
    before = latest.read_text().splitlines() if latest.exists() else []
    others = [text for text in before if _part(text) != part]
    whole = sorted((*others, *lines), key=_part)
    beside = latest.with_suffix(".new")
    beside.write_text("".join(f"{text}\n" for text in whole))
    beside.replace(latest)


def _part(text: str) -> str:
    return str(json.loads(text)["part"])


def _measured(part: str, measure: Measure, kept: Path) -> str:
    """Why it did not end well; nothing when it did."""
    after = ""
    try:
        with kept.open("a") as file:
            for item in measure():
                text = line({"part": part, **item})
                print(text, flush=True)
                file.write(f"{text}\n")
                file.flush()
                after = f" (after {item['name']})"
    except NotMeasurable as error:
        return f"{error}{after}"
    except Exception as error:  # noqa: BLE001 - one measurement that fails must not cost those that follow
        traceback.print_exc()
        return f"{type(error).__name__}: {error}{after}"
    return ""


def _incomplete(part: str, left_out: Mapping[str, str], kept: Path) -> str:
    names = dict[str, list[str]]()
    for name, reason in left_out.items():
        names.setdefault(reason, []).append(name)
    return "\n".join(
        (
            f"{part} is not complete. Left out:",
            *(f"- {', '.join(names[reason])}: {reason}" for reason in names),
            f"What was measured is in {kept}; {LATEST} and docs/performance.md are as they were.",
        )
    )
