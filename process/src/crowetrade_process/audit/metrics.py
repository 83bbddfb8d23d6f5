"""Metrics of a process' audit trail. Each process registers them where its own are."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

RECORDS = Counter("crowetrade_audit_records_total", "Records written to the audit trail.", registry=None)
LOST = Counter(
    "crowetrade_audit_records_lost_total",
    "Events that are not in the audit trail: they came faster than the bus took them, or the process ended first.",
    registry=None,
)
WAITING = Gauge("crowetrade_audit_records_waiting", "Events that wait to be written to the audit trail.", registry=None)
SIGNED = Gauge(
    "crowetrade_audit_signed", "1 when the last checkpoint of the audit trail was signed, 0 without.", registry=None
)


def register(registry: CollectorRegistry) -> None:
    """Adds them to what a process serves."""
    for metric in (RECORDS, LOST, WAITING, SIGNED):
        registry.register(metric)
