"""Every subject, stream and bucket name on the bus, in one place.

A subject names the namespace and the strategy or venue, so that permissions can be given by prefix. Kubernetes names
hold no dots, so each part is one token; an instrument symbol is escaped where it could hold one.
"""

from __future__ import annotations

SCHEMA_HEADER = "Crowetrade-Schema"
"""Header of every message: the full name of its protobuf type, which ends with its version's package."""

JOURNAL_STREAMS = "CROWETRADE_JOURNAL_"
"""Prefix of the streams that hold journals: one stream per venue."""
SNAPSHOT_STREAMS = "CROWETRADE_SNAPSHOTS_"
"""Prefix of the streams that hold snapshots of journals: one stream per venue."""
SNAPSHOT_SLOTS = 3
"""Snapshots that a stream holds at most: the newest two, and the one that is being written."""
CONFIG_BUCKET = "crowetrade-config"
KILL_BUCKET = "crowetrade-kills"
"""Kill orders (KillOrder) by KillSwitch: put by whoever gives one, watched by every gateway."""
ALLOWANCE_BUCKET = "crowetrade-allowances"
"""Which gateway holds which share of a limit (Allowances) by RiskLimit, moved by compare-and-set."""
RISK_AUDITOR_BUCKET = "crowetrade-risk-auditor"
"""How far the risk auditor has told what it found, a sequence of the journal, by venue."""
ADMIN_API = "$JS.DATA.API"
"""Prefix of the JetStream API for administrators, whose account is another one than that of the streams."""
SERVER_FACTS = "$SYS.REQ.SERVER.PING.VARZ"
"""Subject of the request that each server answers with its settings."""
SERVER_NAMES = "$SYS.REQ.SERVER.PING.IDZ"
"""Subject of the request that each server answers with its id."""
AUDIT_STREAM = "AUDIT"
"""The audit trail of all writers; see `audit_stream_config`."""
AUDIT_RETENTION_SECONDS = (7 * 365 + 2) * 86_400
"""How long the audit trail is kept unless the operator is set otherwise: seven years with two leap days."""
STATUS_SUBJECTS = "status.>"
GATEWAY_STATUS_SUBJECTS = "status.*.gateway.*"
AGENT_STATUS_SUBJECTS = "status.*.agent.*.*"
MARKET_DATA_SUBJECTS = "md.>"


def _token(text: str) -> str:
    return text.replace("%", "%25").replace(".", "%2E").replace("*", "%2A").replace(">", "%3E").replace(" ", "%20")


def market_data(namespace: str, venue: str, symbol: str) -> str:
    """Subject of MarketData for one instrument of a venue."""
    return f"md.{namespace}.{venue}.{_token(symbol)}"


def market_data_of_venue(namespace: str, venue: str) -> str:
    """Subject pattern of MarketData for every instrument of a venue, in the order of the venue."""
    return f"md.{namespace}.{venue}.*"


def features(namespace: str, strategy: str) -> str:
    """Subject of FeatureVector of a strategy."""
    return f"feature.{namespace}.{strategy}"


def signals(namespace: str, strategy: str) -> str:
    """Subject of Signal of a strategy."""
    return f"signal.{namespace}.{strategy}"


def targets(namespace: str, strategy: str) -> str:
    """Subject of TargetPosition of a strategy."""
    return f"target.{namespace}.{strategy}"


def handshake(namespace: str, strategy: str, role: str) -> str:
    """Subject of the request that a role of a strategy answers (empty) once its subscriptions are in force."""
    return f"ready.{namespace}.{strategy}.{role}"


def dead_letter(subject: str) -> str:
    """Subject to which a receiver sends what it could not decode, as it came, with the reason in a header."""
    return f"dlq.{subject}"


def server_reload(server_id: str) -> str:
    """Subject of the request that has a server read its configuration again."""
    return f"$SYS.REQ.SERVER.{server_id}.RELOAD"


def server_connections(server_id: str) -> str:
    """Subject of the request that a server answers with what it knows of its connections."""
    return f"$SYS.REQ.SERVER.{server_id}.CONNZ"


def server_kick(server_id: str) -> str:
    """Subject of the request that has a server close a connection."""
    return f"$SYS.REQ.SERVER.{server_id}.KICK"


def journal_stream(namespace: str, venue: str) -> str:
    """Stream of a gateway's journal. Kubernetes names hold no underscore, so two venues never share one."""
    return f"{JOURNAL_STREAMS}{namespace}_{venue}"


def snapshot_stream(namespace: str, venue: str) -> str:
    """Stream of the snapshots of a gateway's journal."""
    return f"{SNAPSHOT_STREAMS}{namespace}_{venue}"


def journal_stream_configs(
    namespace: str, venue: str, max_bytes: int = -1, max_snapshot_bytes: int = -1, replicas: int = 1
) -> tuple[dict[str, object], dict[str, object]]:
    """Configurations of the streams of a journal and of its snapshots as the JetStream API takes them (STREAM.CREATE).
    The operator makes the streams.

    On disk, up to so many bytes (-1: as much as the server has): where there is no more room a stream refuses the
    newest record (the gateway stops), never drops the oldest. Messages may be read directly (the gateway's start). A
    snapshot replaces what is on its subject (Nats-Rollup), so that its writer needs no permission to purge; records
    that were exported are purged by an administrator. Synchronous writes are a setting of the server:
    `sync_interval: always`.
    """
    kept = {
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_age": 0,
        "allow_direct": True,
        "num_replicas": replicas,
    }
    return (
        {
            "name": journal_stream(namespace, venue),
            "subjects": [journal(namespace, venue)],
            "max_bytes": max_bytes,
            **kept,
        },
        {
            "name": snapshot_stream(namespace, venue),
            "subjects": [journal_snapshots(namespace, venue)],
            "max_bytes": max_snapshot_bytes,
            "allow_rollup_hdrs": True,
            **kept,
        },
    )


def journal(namespace: str, venue: str) -> str:
    """Subject of a gateway's journal (JournalRecord) in its stream."""
    return f"journal.{namespace}.{venue}"


def journal_snapshot(namespace: str, venue: str, slot: int) -> str:
    """Subject of one snapshot of a gateway's books (JournalSnapshot), of SNAPSHOT_SLOTS; a new one replaces it."""
    return f"snapshot.{namespace}.{venue}.{slot}"


def journal_snapshots(namespace: str, venue: str) -> str:
    """Subject pattern of the snapshots of a gateway's books in their stream."""
    return f"snapshot.{namespace}.{venue}.*"


def bucket_stream(bucket: str) -> str:
    """Stream of a key-value bucket."""
    return f"KV_{bucket}"


def key_subject(bucket: str, key: str) -> str:
    """Subject of a key, or pattern of keys, of a bucket."""
    return f"$KV.{bucket}.{key}"


def bucket_config(bucket: str, max_bytes: int = -1, replicas: int = 1) -> dict[str, object]:
    """Configuration of a bucket's stream as the JetStream API takes it (STREAM.CREATE): the last value of each key.

    A bucket as clients of NATS make it can be emptied by whoever may write one of its keys (Nats-Rollup: all). None of
    ours rolls up, nor is a message of it deleted or purged, by nobody: a server never takes deny_purge back. Who takes
    a key away writes a mark in its place.
    """
    return {
        "name": bucket_stream(bucket),
        "subjects": [key_subject(bucket, ">")],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_msgs_per_subject": 1,
        "max_bytes": max_bytes,
        "max_age": 0,
        "num_replicas": replicas,
        "allow_rollup_hdrs": False,
        "deny_delete": True,
        "deny_purge": True,
    }


def gateway_status(namespace: str, venue: str) -> str:
    """Subject of GatewayStatus."""
    return f"status.{namespace}.gateway.{venue}"


def agent_status(namespace: str, strategy: str, roles: str) -> str:
    """Subject of AgentStatus; `roles` is "combined" or the one role of the process."""
    return f"status.{namespace}.agent.{strategy}.{roles}"


def risk_finding(namespace: str, venue: str) -> str:
    """Subject of what the risk auditor found in a gateway's journal (JSON)."""
    return f"risk-finding.{namespace}.{venue}"


def risk_auditor_key(namespace: str, venue: str) -> str:
    """Key of a venue in RISK_AUDITOR_BUCKET."""
    return f"told.{namespace}.{venue}"


def audit(namespace: str, service_account: str) -> str:
    """Subject of what one writer has put into the audit trail (AuditRecord), by the identity of its process."""
    return f"audit.{namespace}.{service_account}"


def audit_stream_config(retention_seconds: int, max_bytes: int = -1, replicas: int = 1) -> dict[str, object]:
    """Configuration of the audit trail's stream as the JetStream API takes it (STREAM.CREATE). The operator makes it.

    A message can be neither deleted nor purged, by nobody: a server never takes deny_delete and deny_purge back. Where
    it has no more room it refuses the newest record, never drops the oldest. What is left to an administrator is to
    delete the whole stream and write another one, which `crowetrade audit verify` finds.
    """
    return {
        "name": AUDIT_STREAM,
        "subjects": ["audit.*.*"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_bytes": max_bytes,
        "num_replicas": replicas,
        "max_age": retention_seconds * 1_000_000_000,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
    }


def gateway_config_key(namespace: str, venue: str) -> str:
    """Key of GatewayConfig in CONFIG_BUCKET."""
    return f"gateway.{namespace}.{venue}"


def gateway_of_config_key(key: str) -> tuple[str, str] | None:
    """Namespace and venue of a key that gateway_config_key has made; None for others."""
    match key.split("."):
        case ["gateway", namespace, venue]:
            return namespace, venue
        case _:
            return None


def kill_key(namespace: str, name: str) -> str:
    """Key of KillOrder in KILL_BUCKET."""
    return f"kill.{namespace}.{name}"


def allowance_key(namespace: str, uid: str) -> str:
    """Key of Allowances in ALLOWANCE_BUCKET; `uid` is that of the RiskLimit."""
    return f"allowance.{namespace}.{uid}"
