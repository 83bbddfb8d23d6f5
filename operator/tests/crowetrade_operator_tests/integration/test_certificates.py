"""Certificates, where cert-manager issues identities: repaired as every other child."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CERTIFICATES, STRATEGIES, VENUES
from crowetrade_operator.errors import Conflict, NotFound
from crowetrade_operator.settings import Issuer, Settings
from crowetrade_operator_tests.conftest import CRDS
from crowetrade_operator_tests.integration.cert_manager_crd import CRD
from crowetrade_operator_tests.integration.desk import Desk
from crowetrade_operator_tests.samples import strategy_manifest, venue_manifest
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
CHANGES: dict[str, Object] = {
    "another name": {"dnsNames": ["venue-sim-fx.elsewhere.svc"]},
    "one more name": {"uris": ["spiffe://crowetrade/ns/x/sa/venue-sim-fx", "spiffe://crowetrade/ns/x/sa/other"]},
    "an address": {"ipAddresses": ["203.0.113.7"]},
    "an address of mail": {"emailAddresses": ["desk@example.com"]},
    "a name of another form": {"otherNames": [{"oid": "1.3.6.1.4.1.311.20.2.3", "utf8Value": "desk@example.com"}]},
    "a common name": {"commonName": "venue-sim-fx"},
    "a subject": {"subject": {"organizations": ["desk"]}},
    "a subject as text": {"literalSubject": "CN=venue-sim-fx"},
    "a certificate authority": {"isCA": True},
    "for whom it may sign": {"nameConstraints": {"critical": True, "permitted": {"dnsDomains": ["example.com"]}}},
    "another usage": {"usages": ["code signing"]},
    "labels of its Secret": {"secretTemplate": {"labels": {"team": "fx"}}},
    "its key in another form": {"additionalOutputFormats": [{"type": "CombinedPEM"}]},
    "its key in a store": {"keystores": {"jks": {"create": True, "passwordSecretRef": {"name": "p", "key": "p"}}}},
    "a weaker key": {"privateKey": {"algorithm": "RSA"}},
    "another issuer": {"issuerRef": {"name": "other"}},
}
THEIRS: Object = {"metadata": {"annotations": {"team": "fx"}}, "spec": {"revisionHistoryLimit": 3}}


@pytest.fixture
async def settings(settings: Settings, cluster: Cluster, namespace: str) -> Settings:
    """Of an operator whose identities cert-manager issues."""
    with contextlib.suppress(Conflict):
        await cluster.create(CRDS, "", CRD)

    async def served() -> bool:
        try:
            await cluster.list(CERTIFICATES, namespace)
        except NotFound:
            return False
        return True

    await until("the API server to serve Certificates", served)
    return replace(settings, issuer=Issuer("ca", "ClusterIssuer", "cert-manager.io"))


def test_every_field_that_is_ours_alone_is_changed() -> None:
    fields = {path[-1] for path in CERTIFICATES.only_ours}
    assert fields <= {field for patch in CHANGES.values() for field in patch}


async def test_a_certificate_is_for_its_pods_alone(desk: Desk) -> None:
    await desk.create(VENUES, venue_manifest())
    await desk.create(STRATEGIES, strategy_manifest())
    for name in ("venue-sim-fx", "strategy-ema"):
        await until(f"Certificate {name}", lambda name=name: desk.exists(CERTIFICATES, name))  # type: ignore[misc]
    await desk.idle()
    before = (await desk.get(CERTIFICATES, "venue-sim-fx"))["spec"]
    for number, (what, patch) in enumerate(CHANGES.items()):
        desk.parts.context.child_writer.writes.at_once = number + 2  # each alone is no fight
        changed = await desk.cluster._request(
            "PATCH",
            "patch",
            CERTIFICATES,
            CERTIFICATES.path(desk.namespace, "venue-sim-fx"),
            {"fieldManager": "kubectl-edit"},
            {"spec": patch},
            "application/merge-patch+json",
        )
        assert changed["spec"] != before, what

        async def back() -> bool:
            return bool((await desk.get(CERTIFICATES, "venue-sim-fx"))["spec"] == before)

        await until(f"the Certificate to be put back: {what}", back)
    await desk.told("sim-fx", "ChildRepaired")

    changed = await desk.patch(CERTIFICATES, "strategy-ema", THEIRS)
    await desk.noticed(changed)
    stored = await desk.get(CERTIFICATES, "strategy-ema")
    assert stored["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]
