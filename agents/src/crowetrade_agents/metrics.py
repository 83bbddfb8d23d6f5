"""Every metric of the data plane, in one place. Prometheus names; times in seconds."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

# --- Strategy processes and the bus -------------------------------------------------------------------------------

BUS_UNDECODABLE = Counter(
    "crowetrade_bus_undecodable_total", "Messages that could not be decoded, sent to dlq.", ["schema"]
)
BUS_HANDLER_FAILURES = Counter(
    "crowetrade_bus_handler_failures_total", "Messages whose handler raised an error.", ["schema"]
)
BUS_DROPPED = Counter(
    "crowetrade_bus_dropped_total", "Messages that a subscriber of the same process was too slow for.", ["schema"]
)
STAGE_SECONDS = Histogram(
    "crowetrade_agent_stage_seconds",
    "Time that a stage took for one message.",
    ["role"],
    buckets=(0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.005, 0.02, 0.1, 1.0),
)
STAGE_FAILURES = Counter(
    "crowetrade_agent_stage_failures_total", "Messages for which a stage raised an error.", ["role"]
)
HOLDS = Counter("crowetrade_agent_holds_total", "Targets not given or not acted upon, by reason.", ["reason"])
CHILD_ORDERS = Counter("crowetrade_agent_child_orders_total", "Child orders sent to a gateway.", ["venue", "side"])
CHILD_ORDERS_REFUSED = Counter(
    "crowetrade_agent_child_orders_refused_total",
    "Child orders that a gateway or its venue refused.",
    ["venue", "reason"],
)
EVENTS_SKIPPED = Counter(
    "crowetrade_agent_events_skipped_total", "Market data events given up because no target came in time.", ["venue"]
)
ANSWERS_OVERDUE = Counter(
    "crowetrade_agent_answers_overdue_total", "Orders and cancels that a gateway did not answer in time.", ["venue"]
)
GATEWAY_LOGONS = Counter("crowetrade_agent_gateway_logons_total", "Sessions that a gateway accepted.", ["venue"])

# --- Gateways -------------------------------------------------------------------------------------------------------

ORDERS_REFUSED = Counter(
    "crowetrade_gateway_orders_refused_total", "Orders, cancels and replaces that were refused.", ["strategy", "reason"]
)
ORDERS_SENT = Counter("crowetrade_gateway_orders_sent_total", "Orders sent to the venue.", ["strategy"])
LIMITS_OBSERVED = Counter(
    "crowetrade_gateway_limits_observed_total", "Breaches of limits that only observe.", ["strategy", "reason"]
)
FILLS = Counter("crowetrade_gateway_fills_total", "Executions.", ["strategy"])
EXECUTIONS_REPEATED = Counter(
    "crowetrade_gateway_executions_repeated_total", "Executions that the venue reported again, booked once."
)
ORDERS_UNKNOWN = Counter(
    "crowetrade_gateway_orders_unknown_total", "Orders whose fate had to be asked for.", ["strategy"]
)
KEY_RENEWALS = Counter(
    "crowetrade_gateway_key_renewals_total",
    "Logons with new keys of the venue while the session went on: renewed, refused by the venue, or failed.",
    ["result"],
)
ORPHANS = Counter("crowetrade_gateway_orphans_total", "Orders at the venue that the journal does not have.")
SNAPSHOTS_FAILED = Counter(
    "crowetrade_gateway_snapshots_failed_total",
    "Snapshots of the books that could not be written; the next start reads more of the journal.",
)
HALTS = Counter("crowetrade_gateway_halts_total", "Halts that only a person clears.", ["reason"])
BREACHES = Counter(
    "crowetrade_gateway_breaches_total",
    "Breaches of limits that only a person clears.",
    ["risk_limit", "limit", "action"],
)
LEDGER_FAILURES = Counter(
    "crowetrade_gateway_ledger_failures_total",
    "Looks at the shares of limits that several gateways share, without an answer from where they are written down.",
)
LIMIT_WARNINGS = Counter(
    "crowetrade_gateway_limit_warnings_total", "Uses of limits that rose above warnAt.", ["risk_limit", "limit"]
)
KILLS = Counter("crowetrade_gateway_kills_total", "Kill orders engaged or changed, by the way they came.", ["channel"])
KILL_BLOCK_SECONDS = Histogram(
    "crowetrade_gateway_kill_block_seconds",
    "From a kill order seen until no new order can reach the venue: what had left is answered.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.2, 1.0, 5.0),
)
KILL_HALT_SECONDS = Histogram(
    "crowetrade_gateway_kill_halt_seconds",
    "From a kill order seen until nothing is open any more that it cancels.",
    buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0),
)
KILL_SWITCHES_WATCHED = Gauge(
    "crowetrade_gateway_watches_kill_switches",
    "1 while the gateway watches KillSwitches at the API server itself; only gateways that have to.",
    ["venue"],
)
UNPUBLISHED = Counter(
    "crowetrade_gateway_unpublished_total",
    "Messages that the bus did not take, by what they were (status or market_data) and why.",
    ["message", "reason"],
)
JOURNAL_SECONDS = Histogram(
    "crowetrade_gateway_journal_seconds",
    "One append to the journal, confirmed.",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0),
)
JOURNAL_BYTES = Gauge(
    "crowetrade_gateway_journal_bytes",
    "What the stream of the journal holds; read once a minute.",
    ["namespace", "venue"],
)
JOURNAL_MAX_BYTES = Gauge(
    "crowetrade_gateway_journal_max_bytes",
    "What that stream may hold before it refuses the next record; -1 when only the server's storage bounds it.",
    ["namespace", "venue"],
)
ORDER_SECONDS = Histogram(
    "crowetrade_gateway_order_seconds",
    "From order received to order sent, journal included.",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0),
)

# --- The auditor ----------------------------------------------------------------------------------------------------

RISK_AUDITOR_VIOLATIONS = Counter(
    "crowetrade_risk_auditor_violations_total",
    "Orders that should not have left, and journals that cannot be believed.",
    ["namespace", "venue", "limit"],
)
RISK_AUDITOR_NOT_JUDGED = Counter(
    "crowetrade_risk_auditor_not_judged_total",
    "Limits of orders that the auditor could not judge.",
    ["namespace", "venue", "limit"],
)
RISK_AUDITOR_ORDERS = Counter("crowetrade_risk_auditor_orders_total", "Orders and replacements that were judged again.")
RISK_AUDITOR_LAG = Gauge(
    "crowetrade_risk_auditor_lag_seconds",
    "Time since which orders of the gateway have not been judged again.",
    ["namespace", "venue"],
)


@cache
def series(metric: Counter, labels: tuple[str, ...]) -> Counter:
    """The counter of these label values; finding it takes longer than counting."""
    return metric.labels(*labels) if labels else metric


def count_hold(reason: str) -> None:
    """Counts a target that was not given or not acted upon."""
    series(HOLDS, (reason,)).inc()
