"""kube-score finds nothing in what the chart installs and in what the operator makes, but for what is excepted here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from typing import Any, NamedTuple

import pytest

from crowetrade_operator.decide import strategy, venueconnection
from crowetrade_operator_tests.charts import of_kind, rendered
from crowetrade_operator_tests.decide import test_strategy_rollout, test_venueconnection
from crowetrade_operator_tests.samples import SETTINGS
from crowetrade_operator_tests.servers import program

pytestmark = pytest.mark.integration
Object = dict[str, Any]
WELL = 10


class Finding(NamedTuple):
    """A check of kube-score (`kube-score list`), and the object and container that it is about."""

    check: str
    where: str
    says: str


EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("container-resources", "*", "CPU limit is not set"): (
        "A limit of processor time stops a process in the middle of an order, or of a renewal of its Lease; requests "
        "keep its share."
    ),
    ("container-image-pull-policy", "*", "*"): (
        "Images have a version as their tag, or a digest; a pod that restarts must not need a registry that is away."
    ),
    ("container-ephemeral-storage-request-and-limit", "StatefulSet/nats nats", "Ephemeral Storage limit is not set"): (
        "Without persistence the journals count by it, and the bus would be evicted with them."
    ),
    ("statefulset-has-servicename", "StatefulSet/nats", "*"): (
        "One server has an ordinary Service, three have a headless one; either way by the same name."
    ),
    ("networkpolicy-targets-pod", "NetworkPolicy/crowetrade-default-deny", "*"): (
        "It closes namespaces whose pods the operator makes."
    ),
    ("deployment-strategy", "Deployment/*", "*"): (
        "Recreate: two gateways of a venue, or two agents of a strategy, would fight for the session."
    ),
    ("deployment-replicas", "Deployment/*", "*"): (
        "One: there is one session with a venue, and one of a strategy. The auditor only looks, and is read again."
    ),
}
"""By check, object and what is said of it, why it is right as it is."""
VALUES = {
    "the defaults": (),
    "identities, Vault and three servers": (
        "identity.source=Vault",
        "vault.address=https://vault.vault.svc:8200",
        "nats.replicas=3",
    ),
    "shards, and certificates of cert-manager": (
        "operator.shards={fx,rates}",
        "identity.source=CertManager",
        "identity.certManager.issuerRef.name=ca",
    ),
    "some namespaces, and a bus without a disk": (
        "operator.namespaces={desk-a,desk-b}",
        "nats.persistence.enabled=false",
    ),
}


def _children() -> Iterator[Sequence[Object]]:
    """Of strategies with one pod and with four, and of venues without a key and with one in Vault."""
    for wanted in (test_strategy_rollout.BEFORE, test_strategy_rollout.SPLIT):
        yield strategy.plan(test_strategy_rollout.seen(wanted), SETTINGS).apply
    for resource in (test_venueconnection.PLAIN, test_venueconnection.KEYED):
        observed = test_venueconnection.scene(resource, children=[])
        yield venueconnection.plan(observed, test_venueconnection.WITH_VAULT).apply


def _findings(objects: Sequence[Object]) -> list[Finding]:
    command = [str(program("kube-score")), "score", "--kubernetes-version", "v1.30", "-o", "json", "-"]
    text = "\n---\n".join(map(json.dumps, objects))
    scored = json.loads(subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout)
    assert len(scored) >= len(of_kind(list(objects), "Deployment", "StatefulSet", "Job", "Service", "NetworkPolicy"))
    return [
        Finding(check["check"]["id"], f"{_name(item)} {comment['path']}".strip(), comment["summary"])
        for item in scored
        for check in item["checks"]
        if not check["skipped"] and check["grade"] < WELL
        for comment in check["comments"] or [{"path": "", "summary": check["check"]["name"]}]
    ]


def _name(item: Object) -> str:
    return f"{item['type_meta']['kind']}/{item['object_meta']['name']}"


def _excepted(finding: Finding) -> set[tuple[str, str, str]]:
    return {key for key in EXCEPTIONS if all(map(fnmatch, finding, key))}


@pytest.fixture(scope="module")
def found() -> list[Finding]:
    """Of the chart with each of these values, and of the children."""
    charts = (rendered(*settings) for settings in VALUES.values())
    return [finding for objects in (*charts, *_children()) for finding in _findings(objects)]


def test_nothing_is_found_but_what_is_excepted(found: list[Finding]) -> None:
    assert sorted({finding for finding in found if not _excepted(finding)}) == []


def test_every_exception_is_needed(found: list[Finding]) -> None:
    assert set(EXCEPTIONS) == {key for finding in found for key in _excepted(finding)}
