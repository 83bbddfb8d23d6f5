"""What a figure looks like."""

from __future__ import annotations

from collections.abc import Iterator

Figure = dict[str, object]


def percentiles(name: str, values_ns: list[int]) -> Iterator[Figure]:
    """Nearest-rank p50 and p99, and the maximum, in microseconds."""
    values_ns.sort()
    last = len(values_ns) - 1
    for label, place in (("p50", last // 2), ("p99", last * 99 // 100), ("max", last)):
        yield {"name": f"{name}_{label}", "value": values_ns[place] / 1000, "unit": "us"}
