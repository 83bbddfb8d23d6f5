"""Every metric of the operator, and the registry that they live in."""

from __future__ import annotations

import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from crowetrade_process.audit.metrics import register as register_audit_metrics
from crowetrade_process.identity.metrics import register as register_identity_metrics

REGISTRY = CollectorRegistry()
_PREFIX = "crowetrade_operator"
register_audit_metrics(REGISTRY)
register_identity_metrics(REGISTRY)

RECONCILES = Counter(
    f"{_PREFIX}_reconciles",
    "Reconciles by kind and result (done, retry, failed).",
    ["kind", "result"],
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    f"{_PREFIX}_reconcile_seconds",
    "Duration of reconciles.",
    ["kind"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge(f"{_PREFIX}_queue_depth", "Keys that wait for a worker.", registry=REGISTRY)
QUEUE_OLDEST_SECONDS = Gauge(
    f"{_PREFIX}_queue_oldest_seconds", "How long the oldest waiting key has waited.", registry=REGISTRY
)
API_REQUESTS = Counter(
    f"{_PREFIX}_api_requests",
    "Requests to the API server, watches and those of kopf too, by verb, resource and status code (0: no answer).",
    ["verb", "resource", "code"],
    registry=REGISTRY,
)
API_SECONDS = Histogram(
    f"{_PREFIX}_api_request_seconds",
    "Duration of requests to the API server.",
    ["verb"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
    registry=REGISTRY,
)
APPLIES_SKIPPED = Counter(
    f"{_PREFIX}_applies_skipped", "Writes that were not made because they would change nothing.", registry=REGISTRY
)
CHILD_WRITES = Counter(
    f"{_PREFIX}_child_writes",
    "Children written, by kind and cause: create, update (our content changed), repair (somebody else changed it).",
    ["kind", "cause"],
    registry=REGISTRY,
)
CHILD_WRITTEN_OFTEN = Gauge(
    f"{_PREFIX}_child_written_often",
    "1 for each child that was written more than 5 times in 10 minutes, until it is not written for 10 minutes.",
    ["kind", "namespace", "name"],
    registry=REGISTRY,
)
ADMISSION_REVIEWS = Counter(
    f"{_PREFIX}_admission_reviews",
    "Questions of the API server before it changes or deletes one of our resources, by result: Recorded; Nothing (a dry"
    " run, or nothing changes, or it is being deleted or was asked about already); Stranger (without the token);"
    " Unreadable.",
    ["result"],
    registry=REGISTRY,
)
ADMISSION_SERVED = Gauge(
    f"{_PREFIX}_admission_served",
    "1 when this replica can be asked, so that who changes and deletes is recorded; 0 when not; -1 when it is not to"
    " be.",
    registry=REGISTRY,
)
STATUS_WRITES = Counter(
    f"{_PREFIX}_status_writes",
    "Status writes by kind and result; renewed: nothing was new but the time.",
    ["kind", "result"],
    registry=REGISTRY,
)
STATUS_PENDING = Gauge(f"{_PREFIX}_status_pending", "Objects whose status waits to be written.", registry=REGISTRY)
WATCH_EVENTS = Counter(
    f"{_PREFIX}_watch_events", "Events received by kind and type.", ["kind", "type"], registry=REGISTRY
)
SECONDS_SINCE_EVENT = Gauge(
    f"{_PREFIX}_seconds_since_event", "Time since the last watch event of any kind.", registry=REGISTRY
)
WATCH_STALLED = Gauge(
    f"{_PREFIX}_watch_stalled",
    "1 for each watch that did not bring in time what a list has found, by kind and namespace (empty: all).",
    ["kind", "namespace"],
    registry=REGISTRY,
)
NAMESPACE_UNREADABLE = Gauge(
    f"{_PREFIX}_namespace_unreadable",
    "1 for each namespace that may not be listed or watched, or where a kind is missing: nothing is changed there.",
    ["namespace"],
    registry=REGISTRY,
)
LEADER = Gauge(
    f"{_PREFIX}_leader",
    "1 on the replica that holds this Lease and reconciles, 0 on one that waits for it.",
    ["namespace", "lease"],
    registry=REGISTRY,
)
LOOP_LAG = Gauge(
    f"{_PREFIX}_loop_lag_seconds",
    "How much later than asked the event loop went on, at most, since the Lease was renewed last.",
    registry=REGISTRY,
)
BUS_CONNECTED = Gauge(
    f"{_PREFIX}_bus_connected", "1 when NATS is connected and JetStream is usable.", registry=REGISTRY
)
BUS_FAULTS = Gauge(
    f"{_PREFIX}_bus_faults",
    "1 for each thing that the bus lacks; see the condition BusDeficient.",
    ["reason"],
    registry=REGISTRY,
)
BUS_MESSAGES = Counter(
    f"{_PREFIX}_bus_messages",
    "Status messages received by schema and result: read, unreadable, replaced (by the next one of its sender, before "
    "it was read), unread (kept while this replica waits), broke (an error of the operator's own, see its log).",
    ["schema", "result"],
    registry=REGISTRY,
)
AUDIT_CHAINS_BROKEN = Gauge(
    f"{_PREFIX}_audit_chains_broken",
    "Chains of the audit trail that end before what is on record, or do not hold it any more.",
    registry=REGISTRY,
)
CONFIG_PUTS = Counter(f"{_PREFIX}_gateway_config_puts", "GatewayConfigs written to the bus.", registry=REGISTRY)
EVENTS = Counter(f"{_PREFIX}_events", "Kubernetes events written by reason.", ["reason"], registry=REGISTRY)
EVENTS_DROPPED = Counter(
    f"{_PREFIX}_events_dropped",
    "Kubernetes events that were given up, by reason and cause: queue_full, refused, unavailable (the API server).",
    ["reason", "cause"],
    registry=REGISTRY,
)
LIMIT_UTILISATION = Gauge(
    f"{_PREFIX}_limit_utilisation_ratio",
    "Highest use of a limit of a RiskLimit, as a share of the limit.",
    ["namespace", "risk_limit"],
    registry=REGISTRY,
)
LIMIT_WARNING = Gauge(
    f"{_PREFIX}_limit_warning",
    "1 while the use of a limit is above spec.warnAt.",
    ["namespace", "risk_limit"],
    registry=REGISTRY,
)
LIMIT_BREACHES = Gauge(
    f"{_PREFIX}_limit_breaches",
    "Breaches of a RiskLimit that nobody has cleared.",
    ["namespace", "risk_limit"],
    registry=REGISTRY,
)
VAULT_ROLES_WRONG = Gauge(
    f"{_PREFIX}_vault_roles_wrong",
    "Venues whose Vault role is missing, is not for their gateway alone, or could not be looked at.",
    registry=REGISTRY,
)
KILL_SWITCH_PENDING = Gauge(
    f"{_PREFIX}_kill_switch_pending",
    "Gateways that have not acknowledged an engaged or re-armed KillSwitch.",
    ["namespace", "kill_switch"],
    registry=REGISTRY,
)
KILL_SWITCH_ENGAGED = Gauge(
    f"{_PREFIX}_kill_switch_engaged",
    "1 while the KillSwitch is engaged.",
    ["namespace", "kill_switch"],
    registry=REGISTRY,
)
ROLLOUTS = Gauge(
    f"{_PREFIX}_rollouts",
    "Strategies and VenueConnections with a change under way, as after an upgrade, by kind and reason: RollingOut, "
    "WaitingForFlat, WaitingForQuiet, WaitingForTurn.",
    ["kind", "reason"],
    registry=REGISTRY,
)
_BY_OBJECT = {
    "RiskLimit": (LIMIT_UTILISATION, LIMIT_WARNING, LIMIT_BREACHES),
    "KillSwitch": (KILL_SWITCH_PENDING, KILL_SWITCH_ENGAGED),
}


def forget(kind: str, namespace: str, name: str) -> None:
    """The object is gone, and so are its series."""
    for gauge in _BY_OBJECT.get(kind, ()):
        with contextlib.suppress(KeyError):
            gauge.remove(namespace, name)
