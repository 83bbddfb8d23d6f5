"""Every alert fires when it should and is silent when it should be: Prometheus's own engine evaluates the rules."""

from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.servers import program
from tests.repository.environments import ROOT

pytestmark = pytest.mark.integration
FILES = sorted((ROOT / "monitoring/alerts").glob("*.yaml"))
RULES: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for file in FILES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
}
OFTEN = 'crowetrade_operator_child_written_often{kind="Deployment",namespace="desk",name="strategy-ema",pod="a"}'
UNREADABLE = 'crowetrade_operator_namespace_unreadable{namespace="desk",pod="a"}'
REFUSED = 'crowetrade_identity_refused_peers_total{pod="venue-a",reason="Revoked"}'
REFUSED_BY_NATS = 'crowetrade_identity_refused_peers_total{pod="nats-0",reason="ForeignAuthority"}'
NOT_APPLIED = 'crowetrade_authorizer_revocations_applied_total{pod="a",result="Failed"}'
DECISIONS = 'crowetrade_authorizer_decisions_total{pod="a",role="strategy",reason="StrategyNotFound"}'
ALLOWED = 'crowetrade_authorizer_decisions_total{pod="a",role="strategy",reason="Allowed"}'
NOT_READ = 'crowetrade_authorizer_unreadable{pod="a",kind="Strategy",namespace=""}'
ANSWER_AGE = 'crowetrade_authorizer_answer_age_seconds{pod="a",kind="Strategy",namespace="desk"}'
LIST_ENDS = 'crowetrade_identity_revocations_end_unix_seconds{pod="a"}'
KEYS_REFUSED, KEYS_RENEWED = (
    f'crowetrade_gateway_key_renewals_total{{namespace="desk",pod="venue-a",result="{result}"}}'
    for result in ("refused", "renewed")
)
ENABLED, EXPIRY = 'crowetrade_identity_enabled{pod="a"}', 'crowetrade_identity_expiry_seconds{pod="a"}'
EXPIRED = 'crowetrade_identity_expired_sessions_total{pod="venue-a"}'
VIOLATIONS = 'crowetrade_risk_auditor_violations_total{namespace="desk",venue="sim",limit="maxOrderRate"}'
NOT_JUDGED = 'crowetrade_risk_auditor_not_judged_total{namespace="desk",venue="sim",limit="maxGrossNotional"}'
LAG = 'crowetrade_risk_auditor_lag_seconds{namespace="desk",venue="sim"}'
BYTES, MAX_BYTES = (
    f'crowetrade_gateway_journal_{name}{{namespace="desk",venue="sim",pod="a"}}' for name in ("bytes", "max_bytes")
)
STALLED = 'crowetrade_operator_watch_stalled{kind="Pod",namespace="desk",pod="a"}'
STALLED_EVERYWHERE = 'crowetrade_operator_watch_stalled{kind="Pod",namespace="",pod="a"}'
OLDEST = 'crowetrade_operator_queue_oldest_seconds{pod="a"}'
LAGS = 'crowetrade_operator_loop_lag_seconds{pod="a"}'
WATCHES = 'crowetrade_gateway_watches_kill_switches{namespace="desk",venue="sim",pod="a"}'
KILL_LABELS = '{namespace="desk",kill_switch="all",pod="a"}'
PENDING, ENGAGED = (f"crowetrade_operator_kill_switch_{name}{KILL_LABELS}" for name in ("pending", "engaged"))
BREACHES = 'crowetrade_operator_limit_breaches{namespace="desk",risk_limit="fx",pod="a"}'
WAITING = 'crowetrade_audit_records_waiting{pod="a"}'
FX, RATES = (
    {
        pod: f'crowetrade_operator_leader{{namespace="{SYSTEM_NAMESPACE}",lease="{lease}",pod="{lease}-{pod}"}}'
        for pod in "ab"
    }
    for lease in ("crowetrade-operator-fx", "crowetrade-operator-rates")
)
LED_BY_NOBODY = f"namespace={SYSTEM_NAMESPACE},lease=crowetrade-operator-rates"
NO_OPERATOR = "no operator works: nobody holds Lease crowetrade-operator-rates"
NO_SNAPSHOT = 'crowetrade_gateway_snapshots_failed_total{pod="a"}'
LOST = 'crowetrade_audit_records_lost_total{pod="a"}'


@dataclass(frozen=True)
class Case:
    """Samples of series, one a minute in promtool's notation, and the alert's text then; None where nothing fires."""

    alert: str
    series: dict[str, str]
    at: str
    summary: str | None = None
    labels: str = ""


CASES: dict[str, Case] = {
    "a gateway cannot write snapshots": Case(
        "CroweTradeSnapshotsFail",
        {NO_SNAPSHOT: "0x5 1 2 3 4x60"},
        "10m",
        "a gateway cannot keep its books for the next start",
        "pod=a",
    ),
    "one snapshot was not written": Case("CroweTradeSnapshotsFail", {NO_SNAPSHOT: "0x5 1x60"}, "10m"),
    "a chain of the audit trail is broken": Case(
        "CroweTradeAuditTrailBroken",
        {'crowetrade_operator_audit_chains_broken{pod="a"}': "0 1"},
        "1m",
        "the audit trail was cut off or written again",
    ),
    "every chain is whole": Case(
        "CroweTradeAuditTrailBroken", {'crowetrade_operator_audit_chains_broken{pod="a"}': "0 0"}, "1m"
    ),
    "who asks is not recorded": Case(
        "CroweTradeRequestsNotRecorded",
        {'crowetrade_operator_admission_served{pod="a"}': "1 0x20"},
        "18m",
        "the API server cannot ask a who changes or deletes: nobody is named",
        "pod=a",
    ),
    "an operator has only begun": Case(
        "CroweTradeRequestsNotRecorded", {'crowetrade_operator_admission_served{pod="a"}': "0x3 1x20"}, "18m"
    ),
    "who asks is not to be recorded": Case(
        "CroweTradeRequestsNotRecorded", {'crowetrade_operator_admission_served{pod="a"}': "-1x20"}, "18m"
    ),
    "records are lost": Case(
        "CroweTradeAuditRecordsLost", {LOST: "0x10 5x10"}, "12m", "5 events are not in the audit trail", "pod=a"
    ),
    "records were lost long ago": Case("CroweTradeAuditRecordsLost", {LOST: "5x30"}, "20m"),
    "records cannot be written": Case(
        "CroweTradeAuditRecordsWait",
        {WAITING: "0x2 3x12"},
        "14m",
        "a cannot write to the audit trail: 3 events wait",
        "pod=a",
    ),
    "records wait now and then": Case("CroweTradeAuditRecordsWait", {WAITING: "3 0 3 0 3 0 3 0 3 0 3 0 3 0"}, "13m"),
    "a child is written often": Case(
        "CroweTradeChildWrittenOften",
        {OFTEN: "1x5"},
        "2m",
        "Deployment desk/strategy-ema was written more than 5 times in 10 minutes",
        "kind=Deployment,namespace=desk,name=strategy-ema",
    ),
    "a child is written often no more": Case("CroweTradeChildWrittenOften", {OFTEN: "1 1 1 stale"}, "4m"),
    "a gateway does not watch KillSwitches": Case(
        "CroweTradeKillSwitchesNotWatched",
        {WATCHES: "1 0x10"},
        "4m",
        "the gateway of desk/sim does not watch KillSwitches",
        "namespace=desk,venue=sim",
    ),
    "a gateway watches KillSwitches again": Case("CroweTradeKillSwitchesNotWatched", {WATCHES: "0 1x10"}, "5m"),
    "a gateway has only begun to watch KillSwitches": Case("CroweTradeKillSwitchesNotWatched", {WATCHES: "0 0"}, "1m"),
    "a KillSwitch is not acknowledged by all": Case(
        "CroweTradeKillNotAcknowledged",
        {PENDING: "0 3 2 2", ENGAGED: "0 1 1 1"},
        "3m",
        "2 gateways have not acknowledged KillSwitch desk/all",
        "namespace=desk,kill_switch=all",
    ),
    "all have acknowledged a KillSwitch in time": Case(
        "CroweTradeKillNotAcknowledged", {PENDING: "0 3 0 0", ENGAGED: "0 1 1 1"}, "3m"
    ),
    "gateways still hold a KillSwitch that is re-armed": Case(
        "CroweTradeKillNotAcknowledged", {PENDING: "2x5", ENGAGED: "0x5"}, "4m"
    ),
    "a breach stays latched": Case(
        "CroweTradeBreachLatched",
        {BREACHES: "0 1x10"},
        "7m",
        "1 breaches of RiskLimit desk/fx wait for a person",
        "namespace=desk,risk_limit=fx",
    ),
    "a breach is cleared at once": Case("CroweTradeBreachLatched", {BREACHES: "0 1 1 0x10"}, "7m"),
    "a certificate is about to end": Case(
        "CroweTradeIdentityNotRenewed", {ENABLED: "1x5", EXPIRY: "610-60x5"}, "3m", "a gets no new certificate", "pod=a"
    ),
    "a certificate is renewed in time": Case(
        "CroweTradeIdentityNotRenewed", {ENABLED: "1x5", EXPIRY: "1300 1240 3600 3540 3480"}, "4m"
    ),
    "a process without an identity has no certificate": Case(
        "CroweTradeIdentityNotRenewed", {ENABLED: "0x5", EXPIRY: "0x5"}, "4m"
    ),
    "the first peer is refused": Case(
        "CroweTradePeersRefused",
        {REFUSED: "_x20 1x20"},
        "22m",
        "venue-a refuses peers: Revoked",
        "pod=venue-a,reason=Revoked",
    ),
    "one more peer is refused": Case(
        "CroweTradePeersRefused",
        {REFUSED: "3x20 4x20"},
        "22m",
        "venue-a refuses peers: Revoked",
        "pod=venue-a,reason=Revoked",
    ),
    "nats-server refuses a handshake": Case(
        "CroweTradePeersRefused",
        {REFUSED_BY_NATS: "_x20 1x20"},
        "22m",
        "nats-0 refuses peers: ForeignAuthority",
        "pod=nats-0,reason=ForeignAuthority",
    ),
    "a revocation does not reach the bus": Case(
        "CroweTradeRevocationNotApplied",
        {NOT_APPLIED: "0+5x20"},
        "8m",
        "a cannot have the bus end the connections of a revoked certificate",
        "pod=a,result=Failed",
    ),
    "the authorizer may not watch": Case(
        "CroweTradeAuthorizerUnreadable",
        {NOT_READ: "1x10"},
        "6m",
        "crowetrade-authorizer may not read Strategy of all namespaces",
        "kind=Strategy",
    ),
    "a venue refuses new keys": Case(
        "CroweTradeVenueKeysNotTaken",
        {KEYS_REFUSED: "0x5 1x20", KEYS_RENEWED: "0x25"},
        "8m",
        "desk/venue-a cannot log on with the new keys of its venue",
        "namespace=desk,pod=venue-a",
    ),
    "a venue takes new keys": Case(
        "CroweTradeVenueKeysNotTaken", {KEYS_REFUSED: "0x25", KEYS_RENEWED: "0x5 1x20"}, "8m"
    ),
    "a revocation list ends in six hours": Case(
        "CroweTradeRevocationListEnds",
        {LIST_ENDS: "22000x20"},
        "15m",
        "the revocation list by which a judges ends in 5h 51m 40s, and no other one has come",
        "pod=a",
    ),
    "there should be revocation lists": Case(
        "CroweTradeRevocationListEnds",
        {LIST_ENDS: "-1x20"},
        "15m",
        "the revocation list by which a judges ends in -15m 1s, and no other one has come",
        "pod=a",
    ),
    "a revocation list was made again in time": Case(
        "CroweTradeRevocationListEnds", {LIST_ENDS: "22000x8 260000x20"}, "15m"
    ),
    "there are no revocation lists": Case("CroweTradeRevocationListEnds", {LIST_ENDS: "0x20"}, "15m"),
    "the authorizer hears nothing": Case(
        "CroweTradeAuthorizerStale",
        {ANSWER_AGE: "0+60x20"},
        "12m",
        "a hears nothing of Strategy of desk for 12m 0s",
        "pod=a,kind=Strategy,namespace=desk",
    ),
    "watches without news for five minutes": Case(
        "CroweTradeAuthorizerStale", {ANSWER_AGE: "0 60 120 180 240 300 0 60 120 180 240 300"}, "11m"
    ),
    "the authorizer may watch again": Case("CroweTradeAuthorizerUnreadable", {NOT_READ: "1x3 0x10"}, "6m"),
    "a revocation reached the bus after a minute": Case(
        "CroweTradeRevocationNotApplied", {NOT_APPLIED: "0x3 5x20"}, "9m"
    ),
    "peers were refused long ago": Case("CroweTradePeersRefused", {REFUSED: "_x5 3x40"}, "30m"),
    "the first connection to the bus is refused": Case(
        "CroweTradeConnectionsRefused",
        {DECISIONS: "_x20 1x20", ALLOWED: "1+1x40"},
        "22m",
        "The bus refuses a strategy: StrategyNotFound",
        "role=strategy,reason=StrategyNotFound",
    ),
    "one more connection is refused": Case(
        "CroweTradeConnectionsRefused",
        {DECISIONS: "3x20 4x20", ALLOWED: "1+1x40"},
        "22m",
        "The bus refuses a strategy: StrategyNotFound",
        "role=strategy,reason=StrategyNotFound",
    ),
    "connections are allowed": Case("CroweTradeConnectionsRefused", {DECISIONS: "3x40", ALLOWED: "_x20 1+1x20"}, "22m"),
    "a session outlived its certificate": Case(
        "CroweTradeSessionsExpire",
        {EXPIRED: "0x10 1x10"},
        "12m",
        "venue-a has ended a session whose certificate had ended",
        "pod=venue-a",
    ),
    "no session outlives its certificate": Case("CroweTradeSessionsExpire", {EXPIRED: "0x20"}, "12m"),
    "a namespace cannot be read": Case(
        "CroweTradeNamespaceUnreadable",
        {UNREADABLE: "1x10"},
        "6m",
        "the operator cannot read namespace desk and changes nothing there",
        "namespace=desk",
    ),
    "a namespace could not be read for a moment": Case(
        "CroweTradeNamespaceUnreadable", {UNREADABLE: "1x3 stale"}, "6m"
    ),
    "two replicas and none works": Case(
        "CroweTradeNoLeader",
        dict.fromkeys(RATES.values(), "0x5"),
        "3m",
        NO_OPERATOR,
        LED_BY_NOBODY,
    ),
    "one of two shards works": Case(
        "CroweTradeNoLeader",
        {FX["a"]: "1x5", FX["b"]: "0x5"} | dict.fromkeys(RATES.values(), "0x5"),
        "3m",
        NO_OPERATOR,
        LED_BY_NOBODY,
    ),
    "both shards work": Case("CroweTradeNoLeader", {FX["a"]: "1x5", RATES["a"]: "0x5", RATES["b"]: "1x5"}, "5m"),
    "no replica is left": Case("CroweTradeNoLeader", {RATES["a"]: "1 stale"}, "5m", "no operator works"),
    "one of two replicas works": Case(
        "CroweTradeNoLeader",
        {RATES["a"]: "0x5", RATES["b"]: "1x5"},
        "5m",
    ),
    "the event loop stood still": Case(
        "CroweTradeOperatorStandsStill", {LAGS: "0 3"}, "1m", "the operator's event loop stood still for 3 s"
    ),
    "the event loop goes on": Case("CroweTradeOperatorStandsStill", {LAGS: "0 1.5"}, "1m"),
    "a change waits": Case(
        "CroweTradeQueueOld",
        {OLDEST: "0 40 100"},
        "2m",
        "a has left a change waiting for more than 30 s",
        "pod=a",
    ),
    "a watch is stalled until the operator starts again": Case(
        "CroweTradeWatchStalled",
        {STALLED: "_ 1 stale"},
        "8m",
        "a is not told of changes: its watch of Pod in desk is stalled",
        "pod=a,kind=Pod,namespace=desk",
    ),
    "a watch of all namespaces is stalled": Case(
        "CroweTradeWatchStalled",
        {STALLED_EVERYWHERE: "_ 1x5"},
        "2m",
        "a is not told of changes: its watch of Pod is stalled",
        "pod=a,kind=Pod",
    ),
    "a watch was stalled before the operator started again": Case(
        "CroweTradeWatchStalled", {STALLED: "_ 1 stale"}, "13m"
    ),
    "a change waits no more": Case("CroweTradeQueueOld", {OLDEST: "0 40 0"}, "2m"),
    "a journal fills": Case(
        "CroweTradeJournalFills",
        {BYTES: "79 81x10", MAX_BYTES: "100x11"},
        "7m",
        "the journal of desk/sim is more than 80 % full",
        "namespace=desk,venue=sim",
    ),
    "a journal was trimmed": Case("CroweTradeJournalFills", {BYTES: "81x6 20x6", MAX_BYTES: "100x12"}, "8m"),
    "a journal has no bound of its own": Case("CroweTradeJournalFills", {BYTES: "81x12", MAX_BYTES: "-1x12"}, "8m"),
    "an order should not have left": Case(
        "CroweTradeOrderShouldNotHaveLeft",
        {VIOLATIONS: "0x10 1x10"},
        "12m",
        "desk/sim: maxOrderRate was broken",
        "namespace=desk,venue=sim,limit=maxOrderRate",
    ),
    "every order was right": Case("CroweTradeOrderShouldNotHaveLeft", {VIOLATIONS: "0x20"}, "12m"),
    "the auditor is behind": Case(
        "CroweTradeRiskAuditorBehind",
        {LAG: "31+60x5"},
        "2m",
        "orders of desk/sim are not judged again",
        "namespace=desk,venue=sim",
    ),
    "the auditor keeps up": Case("CroweTradeRiskAuditorBehind", {LAG: "1x5"}, "2m"),
    "no auditor runs": Case("CroweTradeRiskAuditorGone", {}, "6m", "no risk-auditor runs"),
    "an auditor runs and has judged nothing yet": Case(
        "CroweTradeRiskAuditorGone", {'crowetrade_risk_auditor_orders_total{pod="a"}': "0x10"}, "6m"
    ),
    "limits are not judged": Case(
        "CroweTradeLimitsNotJudged",
        {NOT_JUDGED: "0x10 1x40"},
        "30m",
        "maxGrossNotional of desk/sim could not be judged again",
        "namespace=desk,venue=sim,limit=maxGrossNotional",
    ),
    "every limit is judged": Case("CroweTradeLimitsNotJudged", {NOT_JUDGED: "0x40"}, "30m"),
}


def _labels(case: Case) -> dict[str, str]:
    given = dict(part.split("=") for part in case.labels.split(",") if part)
    return {**given, **RULES[case.alert]["labels"]}


def _group(name: str, case: Case, target: dict[str, str] | None = None) -> dict[str, Any]:
    """A test as promtool takes it; a description has no placeholders."""
    annotations = {"summary": case.summary, "description": RULES[case.alert]["annotations"]["description"]}
    summed_up = re.search(r"\b(sum|max|min|absent)\b", RULES[case.alert]["expr"])
    labels = _labels(case) if summed_up or not target else {"pod": "a"} | target | _labels(case)
    expected = [] if case.summary is None else [{"exp_labels": labels, "exp_annotations": annotations}]
    stored = {_scraped(series, target) if target else series: values for series, values in case.series.items()}
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in stored.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(program("promtool")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_alert_fires_and_is_silent_as_it_should(tmp_path: Path) -> None:
    groups = [_group(name, case) for name, case in CASES.items()]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": [str(file) for file in FILES], "tests": groups}))
    done = _promtool("test", "rules", tmp_path / "test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@functools.cache
def _honored() -> bool:
    """Whether the monitor of the operator and the risk-auditor keeps the labels that they write."""
    monitors = of_kind(rendered("monitoring.podMonitor.enabled=true"), "PodMonitor")
    (monitor,) = (item for item in monitors if item["metadata"]["name"] == "crowetrade")
    return bool(monitor["spec"]["podMetricsEndpoints"][0].get("honorLabels"))


def _scraped(series: str, target: dict[str, str]) -> str:
    """How Prometheus stores what that monitor scrapes: a label that the target has too is renamed, unless labels are
    honored. The label pod comes from the target."""
    own = dict(re.findall(r'(\w+)="([^"]*)"', series))
    target = target | {"pod": own.pop("pod", "a")}
    renamed = {f"exported_{label}" if label in target and not _honored() else label: own[label] for label in own}
    stored = ",".join(f'{label}="{value}"' for label, value in (target | renamed).items())
    return f"{series.partition('{')[0]}{{{stored}}}"


def test_alerts_tell_the_same_of_series_that_the_monitor_scrapes(tmp_path: Path) -> None:
    """Which namespace it is above all: that of the strategy or gateway, not that of the process which tells of it."""
    target = {"namespace": SYSTEM_NAMESPACE, "job": f"{SYSTEM_NAMESPACE}/crowetrade", "endpoint": "http"}
    groups = [_group(name, case, target) for name, case in CASES.items()]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": [str(file) for file in FILES], "tests": groups}))
    done = _promtool("test", "rules", tmp_path / "test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_misses_a_shard_whose_pods_are_all_gone(tmp_path: Path) -> None:
    """Another shard works, so that there are series of the metric."""
    values = ("monitoring.prometheusRule.enabled=true", "operator.shards={fx,rates}")
    (rules,) = (
        item["spec"]
        for item in of_kind(rendered(*values), "PrometheusRule")
        if item["metadata"]["name"] == "crowetrade-operator"
    )
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    cases = {
        "gone": Case("CroweTradeNoLeader", {FX["a"]: "1x90", RATES["a"]: "1 stale"}, "80m", NO_OPERATOR, LED_BY_NOBODY),
        "there": Case("CroweTradeNoLeader", {FX["a"]: "1x90", RATES["a"]: "1x90"}, "80m"),
    }
    groups = [_group(name, case) for name, case in cases.items()]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": [str(tmp_path / "rules.yaml")], "tests": groups}))
    done = _promtool("test", "rules", tmp_path / "test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_shown_to_fire_and_to_be_silent() -> None:
    for fires in (True, False):
        assert {case.alert for case in CASES.values() if (case.summary is not None) is fires} == set(RULES)


def test_the_rules_are_without_fault() -> None:
    done = _promtool("check", "rules", "--lint=all", "--lint-fatal", *FILES)
    assert done.returncode == 0, done.stdout + done.stderr
