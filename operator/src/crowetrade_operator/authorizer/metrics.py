"""Every metric of the authorizer."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_PREFIX = "crowetrade_authorizer"

DECISIONS = Counter(
    f"{_PREFIX}_decisions",
    "Connections to the bus that were judged, by role and reason (Allowed, or why not).",
    ["role", "reason"],
)
DECISION_SECONDS = Histogram(
    f"{_PREFIX}_decision_seconds",
    "Duration of a decision.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1),
)
STRATEGIES = Gauge(f"{_PREFIX}_strategies", "Strategies whose venues are known.")
VENUES = Gauge(f"{_PREFIX}_venues", "VenueConnections that are known.")
WATCH_FAILURES = Counter(
    f"{_PREFIX}_watch_failures", "Lists and watches of Strategies and VenueConnections that ended with an error."
)
UNREADABLE = Gauge(
    f"{_PREFIX}_unreadable",
    "1 for each kind and namespace (empty: all) that the authorizer may not list or watch: it judges by what was seen.",
    ["kind", "namespace"],
)
ANSWER_AGE_SECONDS = Gauge(
    f"{_PREFIX}_answer_age_seconds",
    "Time since the API server last answered a list or a watch of each kind and namespace (empty: all), bookmarks too.",
    ["kind", "namespace"],
)
CONNECTIONS_CLOSED = Counter(
    f"{_PREFIX}_connections_closed",
    "Connections that were closed because their strategy or gateway had too many open.",
)
REVOCATIONS_APPLIED = Counter(
    f"{_PREFIX}_revocations_applied",
    "Times that the bus was told to judge open connections again because of a revocation, by result (Done, Failed).",
    ["result"],
)
