"""Every subject, stream and bucket name on the bus, in one place.

A subject names the namespace and the strategy or venue, so that permissions can be given by prefix. Kubernetes names
hold no dots, so each part is one token; an instrument symbol is escaped where it could hold one.
"""

from __future__ import annotations

SCHEMA_HEADER = "Crowetrade-Schema"
"""Header of every message: the full name of its protobuf type, which ends with its version's package."""

JOURNAL_STREAMS = "CROWETRADE_JOURNAL_"
"""Prefix of the streams that hold journals: one stream per venue."""
CONFIG_BUCKET = "crowetrade-config"
KILL_BUCKET = "crowetrade-kills"
"""Kill orders (KillOrder) by KillSwitch: put by whoever gives one, watched by every gateway."""
ALLOWANCE_BUCKET = "crowetrade-allowances"
"""Which gateway holds which share of a limit (Allowances) by RiskLimit, moved by compare-and-set."""
RISK_AUDITOR_BUCKET = "crowetrade-risk-auditor"
"""How far the risk auditor has told what it found, a sequence of the journal, by venue."""
AUDIT_STREAM = "AUDIT"
"""The audit trail of all writers; see `audit_stream_config`."""
AUDIT_RETENTION_SECONDS = 7 * 365 * 86_400
"""How long the audit trail is kept unless the operator is set otherwise."""
STATUS_SUBJECTS = "status.>"
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


def journal_stream(namespace: str, venue: str) -> str:
    """Stream of a gateway's journal and its snapshots. Kubernetes names hold no underscore, so two venues never share
    one."""
    return f"{JOURNAL_STREAMS}{namespace}_{venue}"


def journal_stream_config(namespace: str, venue: str) -> dict[str, object]:
    """Configuration of a journal's stream as the JetStream API takes it (STREAM.CREATE). The operator makes the stream.

    On disk, without limits of its own: where the server has no more room it refuses the newest record (the gateway
    stops), never drops the oldest. Messages may be read directly (the gateway's start), and purged by whoever has the
    permission (snapshots before the newest two; records that were exported). Synchronous writes are a setting of the
    server: `sync_interval: always`.
    """
    return {
        "name": journal_stream(namespace, venue),
        "subjects": [journal(namespace, venue), journal_snapshot(namespace, venue)],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs": -1,
        "max_bytes": -1,
        "max_age": 0,
        "allow_direct": True,
    }


def journal(namespace: str, venue: str) -> str:
    """Subject of a gateway's journal (JournalRecord) in its stream."""
    return f"journal.{namespace}.{venue}"


def journal_snapshot(namespace: str, venue: str) -> str:
    """Subject of the snapshots of a gateway's books (JournalSnapshot) in the same stream."""
    return f"journal-snapshot.{namespace}.{venue}"


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


def audit_stream_config(retention_seconds: int) -> dict[str, object]:
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
        "max_bytes": -1,
        "max_age": retention_seconds * 1_000_000_000,
        "allow_direct": True,
        "deny_delete": True,
        "deny_purge": True,
    }


def gateway_config_key(namespace: str, venue: str) -> str:
    """Key of GatewayConfig in CONFIG_BUCKET."""
    return f"gateway.{namespace}.{venue}"


def kill_key(namespace: str, name: str) -> str:
    """Key of KillOrder in KILL_BUCKET."""
    return f"kill.{namespace}.{name}"


def allowance_key(namespace: str, uid: str) -> str:
    """Key of Allowances in ALLOWANCE_BUCKET; `uid` is that of the RiskLimit."""
    return f"allowance.{namespace}.{uid}"
