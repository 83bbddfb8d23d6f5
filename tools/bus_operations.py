"""What may be done on the bus and what not: a table that a test tries against a real server, and its part of
docs/security.md.

The rows are about venue `sim` and strategy `trend` of namespace `desk`, where `trend` trades at `sim` alone; `rival`
and `other` are a strategy and a venue beside them, `far` is a venue of another namespace.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from crowetrade import subjects

PAGE = Path("docs/security.md")
BEGIN, END = "<!-- permissions:begin -->", "<!-- permissions:end -->"
SYSTEM = "crowetrade-system"
"""Namespace of the operator."""
NAMESPACE, VENUE, STRATEGY = "desk", "sim", "trend"
BY_NKEY = "authorizer"
"""The role that connects with the authorizer's nkey beside its certificate; the others have their certificate alone."""


class Does(StrEnum):
    """What is tried."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


@dataclass(frozen=True, slots=True)
class Operation:
    """One row."""

    role: str
    what: str
    does: Does
    subject: str
    allowed: bool
    header: str = ""
    """Of the message, `NAME: VALUE`: what is refused with it alone is refused by the stream."""


_JOURNAL = subjects.journal_stream(NAMESPACE, VENUE)
_SNAPSHOTS = subjects.snapshot_stream(NAMESPACE, VENUE)
_OTHER_JOURNAL = subjects.journal_stream(NAMESPACE, "other")
_CONFIG, _KILLS, _SHARES = subjects.CONFIG_BUCKET, subjects.KILL_BUCKET, subjects.ALLOWANCE_BUCKET
_OWN_CONFIG = subjects.gateway_config_key(NAMESPACE, VENUE)
_OTHER_CONFIG = subjects.gateway_config_key(NAMESPACE, "other")
_API = "$JS.API"


def _watch(bucket: str, keys: str) -> str:
    stream = subjects.bucket_stream(bucket)
    return f"{_API}.CONSUMER.CREATE.{stream}.name.{subjects.key_subject(bucket, keys)}"


def _audit_of(account: str) -> str:
    return f"{_API}.DIRECT.GET.{subjects.AUDIT_STREAM}.{subjects.audit(SYSTEM, account)}"


_Row = tuple[str, Does, str, bool] | tuple[str, Does, str, bool, str]
_ROLLUP = "Nats-Rollup: all"
_PUB, _SUB = Does.PUBLISH, Does.SUBSCRIBE

_STRATEGY: tuple[_Row, ...] = (
    ("read market data of its venue", _SUB, "md.desk.sim.EUR-USD", True),
    ("read market data of a venue that it does not trade at", _SUB, "md.desk.other.EUR-USD", False),
    ("read market data of another namespace", _SUB, "md.elsewhere.far.EUR-USD", False),
    ("read all market data", _SUB, "md.>", False),
    ("forge market data of its venue", _PUB, "md.desk.sim.EUR-USD", False),
    ("read the status of its venue's gateway", _SUB, "status.desk.gateway.sim", True),
    ("forge the status of its venue's gateway", _PUB, "status.desk.gateway.sim", False),
    ("report its status", _PUB, "status.desk.agent.trend.combined", True),
    ("forge the status of another strategy", _PUB, "status.desk.agent.rival.combined", False),
    ("publish its own signal", _PUB, "signal.desk.trend", True),
    ("read its own signal", _SUB, "signal.desk.trend", True),
    ("read another strategy's signal", _SUB, "signal.desk.rival", False),
    ("forge another strategy's target position", _PUB, "target.desk.rival", False),
    ("put aside what it could not read", _PUB, "dlq.md.desk.sim.EUR-USD", True),
    ("use its own inbox", _SUB, "_INBOX.desk.strategy-trend.x", True),
    ("read another's inbox", _SUB, "_INBOX.desk.strategy-rival.x", False),
    ("write the configuration of a gateway", _PUB, subjects.key_subject(_CONFIG, _OWN_CONFIG), False),
    ("read the configuration of a gateway", _SUB, subjects.key_subject(_CONFIG, _OWN_CONFIG), False),
    ("put a kill order", _PUB, subjects.key_subject(_KILLS, "kill.desk.stop"), False),
    ("take a share of a limit", _PUB, subjects.key_subject(_SHARES, "allowance.desk.uid"), False),
    ("write to a journal", _PUB, subjects.journal(NAMESPACE, VENUE), False),
    ("read a journal", _PUB, f"{_API}.DIRECT.GET.{_JOURNAL}", False),
    ("purge a journal", _PUB, f"{_API}.STREAM.PURGE.{_JOURNAL}", False),
    ("delete a journal", _PUB, f"{_API}.STREAM.DELETE.{_JOURNAL}", False),
    ("make a stream", _PUB, f"{_API}.STREAM.CREATE.MINE", False),
    ("ask JetStream anything", _PUB, f"{_API}.INFO", False),
)
_GATEWAY: tuple[_Row, ...] = (
    ("publish its market data", _PUB, "md.desk.sim.EUR-USD", True),
    ("forge market data of another venue", _PUB, "md.desk.other.EUR-USD", False),
    ("report its status", _PUB, "status.desk.gateway.sim", True),
    ("append to its journal", _PUB, subjects.journal(NAMESPACE, VENUE), True),
    ("append to another gateway's journal", _PUB, subjects.journal(NAMESPACE, "other"), False),
    ("write a snapshot", _PUB, subjects.journal_snapshot(NAMESPACE, VENUE, 0), True),
    ("read its journal", _PUB, f"{_API}.DIRECT.GET.{_JOURNAL}", True),
    ("read its snapshots", _PUB, f"{_API}.DIRECT.GET.{_SNAPSHOTS}", True),
    ("read another gateway's journal", _PUB, f"{_API}.DIRECT.GET.{_OTHER_JOURNAL}", False),
    ("a consumer on another gateway's journal", _PUB, f"{_API}.CONSUMER.CREATE.{_OTHER_JOURNAL}", False),
    ("purge its journal", _PUB, f"{_API}.STREAM.PURGE.{_JOURNAL}", False),
    ("purge its snapshots", _PUB, f"{_API}.STREAM.PURGE.{_SNAPSHOTS}", False),
    ("delete a record of its journal", _PUB, f"{_API}.STREAM.MSG.DELETE.{_JOURNAL}", False),
    ("change its journal's stream", _PUB, f"{_API}.STREAM.UPDATE.{_JOURNAL}", False),
    ("watch its configuration", _PUB, _watch(_CONFIG, _OWN_CONFIG), True),
    ("watch another gateway's configuration", _PUB, _watch(_CONFIG, _OTHER_CONFIG), False),
    ("watch without saying what", _PUB, f"{_API}.CONSUMER.CREATE.KV_{_CONFIG}", False),
    ("read another gateway's configuration", _PUB, f"{_API}.STREAM.MSG.GET.KV_{_CONFIG}", False),
    ("write its own configuration", _PUB, subjects.key_subject(_CONFIG, _OWN_CONFIG), False),
    ("watch kill orders", _PUB, _watch(_KILLS, "kill.>"), True),
    ("put or take away a kill order", _PUB, subjects.key_subject(_KILLS, "kill.desk.stop"), False),
    ("exchange shares of limits of its namespace", _PUB, subjects.key_subject(_SHARES, "allowance.desk.uid"), True),
    ("empty all shares", _PUB, subjects.key_subject(_SHARES, "allowance.desk.uid"), False, _ROLLUP),
    ("exchange shares of another namespace", _PUB, subjects.key_subject(_SHARES, "allowance.elsewhere.uid"), False),
    ("read a strategy's signal", _SUB, "signal.desk.trend", False),
    ("go on with its audit trail", _PUB, subjects.audit(NAMESPACE, "venue-sim"), True),
    ("write in the name of another", _PUB, subjects.audit(NAMESPACE, "venue-other"), False),
    ("read another's audit trail", _PUB, f"{_API}.DIRECT.GET.{subjects.AUDIT_STREAM}", False),
    ("delete the audit trail", _PUB, f"{_API}.STREAM.DELETE.{subjects.AUDIT_STREAM}", False),
)
_OPERATOR: tuple[_Row, ...] = (
    ("make a stream", _PUB, f"{_API}.STREAM.CREATE.{_JOURNAL}", True),
    ("change a stream", _PUB, f"{_API}.STREAM.UPDATE.{_JOURNAL}", False),
    ("purge a journal", _PUB, f"{_API}.STREAM.PURGE.{_JOURNAL}", False),
    ("delete a journal", _PUB, f"{_API}.STREAM.DELETE.{_JOURNAL}", False),
    ("append to a journal", _PUB, subjects.journal(NAMESPACE, VENUE), False),
    ("write the configuration of a gateway", _PUB, subjects.key_subject(_CONFIG, _OWN_CONFIG), True),
    ("put and take away kill orders", _PUB, subjects.key_subject(_KILLS, "kill.desk.stop"), True),
    ("purge all kill orders", _PUB, subjects.key_subject(_KILLS, "kill.desk.stop"), False, _ROLLUP),
    ("see what the journals of a namespace reserve", _PUB, f"{_API}.STREAM.LIST", True),
    ("list kill orders", _PUB, f"{_API}.STREAM.INFO.KV_{_KILLS}", True),
    ("read a kill order", _PUB, f"{_API}.STREAM.MSG.GET.KV_{_KILLS}", True),
    ("a consumer on kill orders", _PUB, f"{_API}.CONSUMER.CREATE.KV_{_KILLS}", False),
    ("read every status", _SUB, "status.>", True),
    ("read the audit trail", _PUB, f"{_API}.DIRECT.GET.{subjects.AUDIT_STREAM}", True),
    ("purge the audit trail", _PUB, f"{_API}.STREAM.PURGE.{subjects.AUDIT_STREAM}", False),
    ("forge market data", _PUB, "md.desk.sim.EUR-USD", False),
    ("read a strategy's signal", _SUB, "signal.desk.trend", False),
    ("read the server's settings", _PUB, subjects.SERVER_FACTS, True),
    ("answer for the authorizer", _SUB, "$SYS.REQ.USER.AUTH", False),
)
_AUDITOR: tuple[_Row, ...] = (
    ("read every journal", _PUB, f"{_API}.DIRECT.GET.{_JOURNAL}", True),
    ("read market data", _SUB, "md.>", True),
    ("tell what it found", _PUB, subjects.risk_finding(NAMESPACE, VENUE), True),
    ("append to a journal", _PUB, subjects.journal(NAMESPACE, VENUE), False),
    ("purge a journal", _PUB, f"{_API}.STREAM.PURGE.{_JOURNAL}", False),
    ("write the configuration of a gateway", _PUB, subjects.key_subject(_CONFIG, _OWN_CONFIG), False),
)
_ADMINISTRATOR: tuple[_Row, ...] = (
    ("purge a journal (trim)", _PUB, f"{subjects.ADMIN_API}.STREAM.PURGE.{_JOURNAL}", True),
    ("read a journal", _PUB, f"{subjects.ADMIN_API}.DIRECT.GET.{_JOURNAL}", True),
    ("put a kill order", _PUB, subjects.key_subject(_KILLS, "kill.desk.stop"), True),
    ("purge all kill orders", _PUB, subjects.key_subject(_KILLS, "kill.desk.stop"), False, _ROLLUP),
    ("read every status", _SUB, "status.>", True),
    ("read the audit trail", _PUB, f"{subjects.ADMIN_API}.DIRECT.GET.{subjects.AUDIT_STREAM}", True),
    ("write to the audit trail", _PUB, subjects.audit(NAMESPACE, "venue-sim"), False),
    ("write the configuration of a gateway", _PUB, subjects.key_subject(_CONFIG, _OWN_CONFIG), False),
    ("append to a journal", _PUB, subjects.journal(NAMESPACE, VENUE), False),
    ("forge market data", _PUB, "md.desk.sim.EUR-USD", False),
)
_AUTHORIZER: tuple[_Row, ...] = (
    ("answer who may connect", _SUB, "$SYS.REQ.USER.AUTH", True),
    ("read what servers answer", _SUB, "_INBOX.authorizer.x", True),
    ("ask who the servers are", _PUB, subjects.SERVER_NAMES, True),
    ("have a server ask about its connections again", _PUB, subjects.server_reload("SOME"), True),
    ("ask a server which connections are open", _PUB, subjects.server_connections("SOME"), True),
    ("have a server close a connection", _PUB, subjects.server_kick("SOME"), True),
    ("have a client leave a server", _PUB, "$SYS.REQ.SERVER.SOME.LDM", False),
    ("read the answers to others", _SUB, "_INBOX.>", False),
    ("read all that is said", _SUB, ">", False),
    ("publish anything unasked", _PUB, "md.desk.sim.EUR-USD", False),
    ("ask JetStream anything", _PUB, f"{_API}.INFO", False),
)
# Its second connection, by its certificate and without its nkey.
_AUTHORIZER_AUDIT: tuple[_Row, ...] = (
    ("go on with its audit trail", _PUB, subjects.audit(SYSTEM, "crowetrade-authorizer"), True),
    ("see where its audit trail ends", _PUB, _audit_of("crowetrade-authorizer"), True),
    ("write in the name of another", _PUB, subjects.audit(SYSTEM, "crowetrade-operator"), False),
    ("read another's audit trail", _PUB, _audit_of("crowetrade-operator"), False),
    ("read all of the audit trail", _PUB, f"{_API}.DIRECT.GET.{subjects.AUDIT_STREAM}", False),
    ("delete the audit trail", _PUB, f"{_API}.STREAM.DELETE.{subjects.AUDIT_STREAM}", False),
    ("answer who may connect", _SUB, "$SYS.REQ.USER.AUTH", False),
    ("have a server close a connection", _PUB, subjects.server_kick("SOME"), False),
    ("forge market data", _PUB, "md.desk.sim.EUR-USD", False),
    ("read market data", _SUB, "md.>", False),
    ("append to a journal", _PUB, subjects.journal(NAMESPACE, VENUE), False),
    ("read all that is said", _SUB, ">", False),
    ("ask JetStream anything", _PUB, f"{_API}.INFO", False),
)
# The process beside nats-server, with the server's identity.
_NATS: tuple[_Row, ...] = (
    ("go on with its audit trail", _PUB, subjects.audit(SYSTEM, "nats"), True),
    ("see where its audit trail ends", _PUB, _audit_of("nats"), True),
    ("write in the name of another", _PUB, subjects.audit(SYSTEM, "crowetrade-authorizer"), False),
    ("read another's audit trail", _PUB, _audit_of("crowetrade-authorizer"), False),
    ("read all of the audit trail", _PUB, f"{_API}.DIRECT.GET.{subjects.AUDIT_STREAM}", False),
    ("delete the audit trail", _PUB, f"{_API}.STREAM.DELETE.{subjects.AUDIT_STREAM}", False),
    ("answer who may connect", _SUB, "$SYS.REQ.USER.AUTH", False),
    ("forge market data", _PUB, "md.desk.sim.EUR-USD", False),
    ("append to a journal", _PUB, subjects.journal(NAMESPACE, VENUE), False),
    ("read all that is said", _SUB, ">", False),
    ("ask JetStream anything", _PUB, f"{_API}.INFO", False),
)

OPERATIONS = tuple(
    Operation(role, *row)
    for role, rows in (
        ("strategy", _STRATEGY),
        ("gateway", _GATEWAY),
        ("operator", _OPERATOR),
        ("risk auditor", _AUDITOR),
        ("administrator", _ADMINISTRATOR),
        (BY_NKEY, _AUTHORIZER),
        ("authorizer (audit)", _AUTHORIZER_AUDIT),
        ("nats", _NATS),
    )
    for row in rows
)


def table() -> str:
    """The table in Markdown."""
    lines = ["| who | wants to | subject | |", "|---|---|---|---|"]
    for one in OPERATIONS:
        header = f" with header `{one.header}`" if one.header else ""
        verdict = "allowed" if one.allowed else "**refused**"
        lines.append(f"| {one.role} | {one.what} | {one.does} `{one.subject}`{header} | {verdict} |")
    allowed = sum(one.allowed for one in OPERATIONS)
    lines += ["", f"{len(OPERATIONS)} operations: {allowed} allowed, {len(OPERATIONS) - allowed} refused."]
    return "\n".join(lines)


def write(root: Path, source: Path) -> None:
    """Puts the table between the marks of the page of `source`, below `root`. Raises ValueError without the marks."""
    before, begin, rest = (source / PAGE).read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no marks {BEGIN} and {END}")
    (root / PAGE).parent.mkdir(parents=True, exist_ok=True)
    (root / PAGE).write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")
