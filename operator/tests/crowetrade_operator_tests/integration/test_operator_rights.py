"""The operator has the rights that it needs, and no others: the chart's rules against the operator's own lists of
kinds, against an API server's answer to each question, and against everything that a working operator asks for."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import (
    CERTIFICATES,
    CONFIG_MAPS,
    DEPLOYMENTS,
    KILL_SWITCHES,
    KINDS,
    LEASES,
    RISK_LIMITS,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.integration.desk import Desk, running, saying
from crowetrade_operator_tests.integration.test_rearm import PATHS, RBAC, Server
from crowetrade_operator_tests.samples import kill_manifest, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, nats_client
from crowetrade_operator_tests.waiting import until
from crowetrade_process.audit.verification import KEPT_CONFIG_MAPS

pytestmark = pytest.mark.integration
Object = dict[str, Any]
Right = tuple[str, str, str]
"""Group, resource with subresource, verb."""
ACCOUNT = f"system:serviceaccount:{SYSTEM_NAMESPACE}:crowetrade-operator"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
EVERYWHERE = {("", "namespaces", "list"), ("", "namespaces", "watch")}
"""What a Role of a namespace cannot grant."""


def rights(resource: ApiResource, *verbs: str, subresource: str = "") -> set[Right]:
    name = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return {(resource.group, name, verb) for verb in verbs}


def needed(*kinds: ApiResource) -> set[Right]:
    """By the table of kinds: of these, or of all that are in every installation."""
    found: set[Right] = set()
    for resource in kinds or [item for item in KINDS if item not in (CERTIFICATES, LEASES)]:
        found |= rights(resource, *resource.verbs.split())
        for subresource, verbs in resource.subresources:
            found |= rights(resource, *verbs.split(), subresource=subresource)
    return found


def said(role: Object) -> set[Right]:
    """By the rules of a role."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_charts_rules_are_what_the_operators_kinds_need() -> None:
    (everywhere,) = [item for item in of_kind(rendered(), "ClusterRole") if _is_operators(item)]
    assert said(everywhere) == needed()
    some = rendered("operator.namespaces={a,b}")
    assert not [item for item in of_kind(some, "ClusterRole", "ClusterRoleBinding") if _is_operators(item)]
    roles = [item for item in of_kind(some, "Role") if _is_operators(item)]
    assert [item["metadata"]["namespace"] for item in roles] == ["a", "b"]
    for role in roles:
        assert said(role) == needed() - EVERYWHERE
    (lease,) = [item for item in of_kind(some, "Role") if item["metadata"]["name"] == "crowetrade-operator-lease"]
    assert said(lease) == needed(LEASES) | rights(CONFIG_MAPS, "create", "get", "patch")
    named = {tuple(rule["resourceNames"]) for rule in lease["rules"] if "create" not in rule["verbs"]}
    assert named == {("crowetrade-operator",), KEPT_CONFIG_MAPS}
    made = [item["metadata"]["name"] for item in of_kind(some, "ConfigMap")]
    assert [name for name in made if name.startswith(KEPT_CONFIG_MAPS[0])] == list(KEPT_CONFIG_MAPS)
    with_certificates = rendered("identity.source=CertManager", "identity.certManager.issuerRef.name=ca")
    (more,) = [item for item in of_kind(with_certificates, "ClusterRole") if _is_operators(item)]
    assert said(more) - needed() == needed(CERTIFICATES)


def _is_operators(item: Object) -> bool:
    return bool(item["metadata"]["name"] == "crowetrade-operator")


@pytest.fixture(params=["in the test's namespace", "everywhere"])
def installed(
    request: pytest.FixtureRequest, api_server: ApiServer, cluster: Cluster, namespace: str
) -> Iterator[Server]:
    """The operator's account with its rights, and the policy that limits it."""
    client = Server(api_server)
    client.send("POST", "/api/v1/namespaces", {"metadata": {"name": SYSTEM_NAMESPACE}})
    accounts = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts"
    client.send("POST", accounts, {"metadata": {"name": "crowetrade-operator"}})
    objects = rendered() if request.param == "everywhere" else rendered(f"operator.namespaces={{{namespace}}}")
    policies = of_kind(objects, "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    of_cluster = [
        (f"{RBAC}/{item['kind'].lower()}s", item) for item in of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    ] + [(PATHS[item["kind"]], item) for item in policies]
    of_cluster = [(path, item) for path, item in of_cluster if _is_operators(item)]
    for path, item in of_cluster:
        client.make(path, item)
    for item in of_kind(objects, "Role", "RoleBinding"):
        if item["metadata"]["name"].startswith("crowetrade-operator"):
            kind = {"Role": "roles", "RoleBinding": "rolebindings"}[item["kind"]]
            client.send("POST", f"{RBAC}/namespaces/{item['metadata']['namespace']}/{kind}", item)
    yield client
    for path, item in of_cluster:
        client.send("DELETE", f"{path}/{item['metadata']['name']}")
    client.close()


def allowed(server: Server, namespace: str, right: Right) -> bool:
    """What the API server answers to the operator's own question (SelfSubjectAccessReview); without a namespace, about
    all of them at once."""
    group, resource, verb = right
    resource, _, subresource = resource.partition("/")
    attributes = {
        "namespace": namespace,
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "verb": verb,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    code, answer = server.send("POST", path, body, ACCOUNT, "system:authenticated")
    assert code == 201, answer
    return bool(answer["status"]["allowed"])


def test_the_api_server_gives_it_every_right_that_it_needs_and_no_other(
    request: pytest.FixtureRequest, installed: Server, namespace: str
) -> None:
    everywhere = request.node.callspec.params["installed"] == "everywhere"
    wanted, place = (needed(), "") if everywhere else (needed() - EVERYWHERE, namespace)
    missing = [right for right in sorted(wanted) if not allowed(installed, place, right)]
    assert missing == []
    resources = {(group, resource) for group, resource, _ in wanted} | {
        ("", "secrets"),
        ("", "pods/exec"),
        ("", "pods/attach"),
        ("", "pods/portforward"),
        ("", "pods/ephemeralcontainers"),
        ("", "serviceaccounts/token"),
        ("", "persistentvolumeclaims"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("batch", "jobs"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
        ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
        ("trading.crowetrade.io", "killswitches"),
    }
    special = {("trading.crowetrade.io", "killswitches", "rearm"), ("trading.crowetrade.io", "strategies", "promote")}
    special |= {("", "serviceaccounts", "impersonate"), ("", "users", "impersonate")}
    others = {(*resource, verb) for resource in resources for verb in VERBS} | special
    assert [right for right in sorted(others - wanted) if allowed(installed, place, right)] == []
    elsewhere = [right for right in sorted(wanted) if allowed(installed, "default", right)]
    assert elsewhere == (sorted(wanted) if everywhere else []), "in another namespace"


def asked(*codes: str) -> float:
    """How many requests of this process the API server has answered with one of these codes."""
    samples = [sample for metric in metrics.API_REQUESTS.collect() for sample in metric.samples]
    return sum(item.value for item in samples if item.name.endswith("_total") and item.labels["code"] in codes)


async def test_an_operator_with_these_rights_alone_does_all_its_work(
    installed: Server,
    api_server: ApiServer,
    cluster: Cluster,
    namespace: str,
    nats_url: str,
    settings: Settings,
    tmp_path: Path,
) -> None:
    kubeconfig = tmp_path / "operator.json"
    kubeconfig.write_text(json.dumps(kubeconfig_of("crowetrade-operator", installed, api_server)))
    of_its_own = replace(
        settings, operator_namespace=SYSTEM_NAMESPACE, kubeconfig=str(kubeconfig), namespaces=(namespace,)
    )
    refused, accepted = asked("401", "403", "422"), asked("200", "201")
    async with running(of_its_own) as operator, nats_client(nats_url) as bus:
        desk = Desk(cluster, namespace, bus, operator)
        await desk.create(VENUES, venue_manifest())
        await desk.create(RISK_LIMITS, limit_manifest())
        await desk.create(STRATEGIES, strategy_manifest())
        await desk.deployment_ready("venue-sim-fx")
        await desk.deployment_ready("strategy-ema")
        async with saying(desk):
            await desk.condition(VENUES, "sim-fx", "SessionEstablished", "True")
            await desk.create(KILL_SWITCHES, kill_manifest())
            await desk.told("all", "KillSwitchEngaged")
            await desk.patch(DEPLOYMENTS, "strategy-ema", {"spec": {"replicas": 3}})

            async def repaired() -> bool:
                return bool((await desk.get(DEPLOYMENTS, "strategy-ema"))["spec"]["replicas"] == 1)

            await until("the Deployment to be repaired", repaired)
            split = {"spec": {"agents": {"topology": "Split", "updatePolicy": "Immediate"}}}
            await desk.patch(STRATEGIES, "ema", split)
            await desk.gone(DEPLOYMENTS, "strategy-ema")
            await desk.delete(STRATEGIES, "ema")
            await desk.gone(STRATEGIES, "ema")
            await desk.delete(VENUES, "sim-fx")
            await desk.gone(VENUES, "sim-fx")
    assert asked("401", "403", "422") == refused
    assert asked("200", "201") > accepted + 20


def kubeconfig_of(account: str, server: Server, api_server: ApiServer) -> Object:
    """With a token that the API server has made for a service account of the chart."""
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/serviceaccounts/{account}/token"
    code, answer = server.send("POST", path, {"spec": {"expirationSeconds": 3600}})
    assert code == 201, answer
    authority = (api_server.kubeconfig.parent / "certificates" / "apiserver.crt").read_bytes()
    cluster = {"server": api_server.url, "certificate-authority-data": base64.b64encode(authority).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": answer["status"]["token"]}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
