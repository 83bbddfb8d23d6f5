"""Metrics of the audit trail, in the default registry; a process with a registry of its own registers them there."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

RECORDS = Counter("crowetrade_audit_records_total", "Records written to the audit trail.")
LOST = Counter(
    "crowetrade_audit_records_lost_total",
    "Events that are not in the audit trail: they came faster than the bus took them, or the process ended first.",
)
SUMMED = Counter(
    "crowetrade_audit_events_summed_total",
    "Events that the audit trail counts in sums, because the share of their namespace is used up.",
)
WAITING = Gauge("crowetrade_audit_records_waiting", "Events that wait to be written to the audit trail.")
SIGNED = Gauge("crowetrade_audit_signed", "1 when the last checkpoint of the audit trail was signed, 0 without.")


def register(registry: CollectorRegistry) -> None:
    """Adds them to what a process serves."""
    for metric in (RECORDS, LOST, SUMMED, WAITING, SIGNED):
        registry.register(metric)
