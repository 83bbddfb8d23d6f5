"""Metrics of the identity, in the default registry; a process with a registry of its own registers them there."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

ENABLED = Gauge(
    "crowetrade_identity_enabled", "1 when connections are encrypted and both ends have shown a certificate; else 0."
)
EXPIRY_SECONDS = Gauge(
    "crowetrade_identity_expiry_seconds", "Time until the certificate of the process expires; negative afterwards."
)
REVOCATIONS_END = Gauge(
    "crowetrade_identity_revocations_end_unix_seconds",
    "When the first of the authorities by which the process judges peers has no revocation list in force any more "
    "(nextUpdate), Unix time; 0 where the source has no lists, -1 where it should have some and has none.",
)
RENEWALS = Counter("crowetrade_identity_renewals_total", "Certificates that the process was issued.")
FAILURES = Counter(
    "crowetrade_identity_failures_total",
    "Tries to get a certificate, or the trust in others, or to write these to files for nats-server, that failed.",
    ["what"],
)
for _what in ("trust", "certificate"):
    # 0 from the beginning, also without an identity: of a series that begins with a failure nobody sees an increase.
    FAILURES.labels(what=_what)
REFUSED_PEERS = Counter(
    "crowetrade_identity_refused_peers_total", "Peers that were refused because of who they are, by reason.", ["reason"]
)
EXPIRED_SESSIONS = Counter(
    "crowetrade_identity_expired_sessions_total",
    "Sessions that the gateway ended because the certificate with which they were opened had ended.",
)


def register(registry: CollectorRegistry) -> None:
    """Adds them to a registry."""
    for metric in (ENABLED, EXPIRY_SECONDS, REVOCATIONS_END, RENEWALS, FAILURES, REFUSED_PEERS, EXPIRED_SESSIONS):
        registry.register(metric)
