"""Who may go live, change labels, give a key by a Secret, run with a gateway's service account, and what the operator
itself may write: the chart's policies at a real API server, each allowed once and refused once with its sentence."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from crowetrade_api.names import API_VERSION, ENVIRONMENT_LABEL, GROUP, MANAGED_BY, MANAGED_BY_LABEL, VERSION
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.integration.cert_manager_crd import CRD as CERTIFICATES_CRD
from crowetrade_operator_tests.integration.test_rearm import PATHS, RBAC, Server, _with_crds, refused
from crowetrade_operator_tests.samples import change, kill_manifest, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_process.audit.verification import KEPT_CONFIG_MAPS

pytestmark = pytest.mark.integration
Object = dict[str, Any]
VENUES, RESEARCH, LIVE = "auth-venues", "auth-research", "auth-live"
TRADER, RISK, PROMOTER, PLATFORM = "tom", "rita", "paul", "petra"
"""Tom writes strategies in both of the traders' namespaces; Rita edits limits of the venues' namespace; Paul may
promote in the live one; Petra writes venues."""
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:crowetrade-operator"
DEPLOYMENT_CONTROLLER = "system:serviceaccount:kube-system:deployment-controller"
REPLICASET_CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/strategies.trading.crowetrade.io"
_names = itertools.count(1)


def of(plural: str, namespace: str, name: str = "") -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


@pytest.fixture(scope="module")
def server(api_server: ApiServer) -> Iterator[Server]:
    """The API server with our kinds, policies, roles and people; its Strategies may be Live."""
    asyncio.run(_with_crds(api_server))
    client = Server(api_server)
    _make_certificates_known(client)
    for name, environment in ((VENUES, "live"), (RESEARCH, "research"), (LIVE, "live")):
        client.make("/api/v1/namespaces", {"metadata": {"name": name, "labels": {ENVIRONMENT_LABEL: environment}}})
    installed = of_kind(rendered(), *PATHS)
    for item in installed:
        client.make(PATHS[item["kind"]], item)
    for namespace in (RESEARCH, LIVE):
        client.bind(TRADER, "crowetrade-strategies-editor", namespace)
    for user in (RISK, PROMOTER):
        client.bind(user, "crowetrade-strategies-editor", RESEARCH)
    client.bind(RISK, "crowetrade-risklimits-editor", VENUES)
    client.bind(PROMOTER, "crowetrade-strategies-promoter", LIVE)
    for namespace in (VENUES, RESEARCH):
        client.bind(PLATFORM, "crowetrade-venueconnections-editor", namespace)
    for user in (OPERATOR, DEPLOYMENT_CONTROLLER, REPLICASET_CONTROLLER, TRADER):
        for namespace in (VENUES, RESEARCH):
            client.bind(user, "test-workloads", namespace)
    client.make(PATHS["ClusterRole"], WORKLOADS)
    client.bind(OPERATOR, "crowetrade-operator", "")
    client.make(f"{RBAC}/clusterrolebindings", NODES)
    modes = _allow_live(client)
    _wait_for_policies(client)
    yield client
    for item in [*installed, WORKLOADS]:
        client.send("DELETE", f"{PATHS[item['kind']]}/{item['metadata']['name']}")
    _set_modes(client, modes)
    client.close()


WORKLOADS: Object = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "test-workloads"},
    "rules": [
        {
            "apiGroups": ["", "apps", "batch"],
            "resources": [
                *("pods", "pods/ephemeralcontainers", "serviceaccounts/token", "configmaps", "services"),
                *("deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs"),
            ],
            "verbs": ["*"],
        },
        {"apiGroups": ["cert-manager.io"], "resources": ["certificates"], "verbs": ["*"]},
    ],
}
"""What `edit` of Kubernetes holds, and what the operator may where cert-manager issues identities."""


def _set_modes(client: Server, modes: list[str]) -> list[str]:
    """Which modes the schema of a Strategy has; returns those of before."""
    stored = client.send("GET", CRD)[1]
    mode = stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["mode"]
    before, mode["enum"] = mode["enum"], modes
    code, answer = client.send("PUT", CRD, stored)
    assert code == 200, answer
    return list(before)


def _allow_live(client: Server) -> list[str]:
    """The schema that comes with the first venue that is not simulated: the policy is there before it."""
    modes = _set_modes(client, ["Paper", "Live"])
    deadline = time.monotonic() + 30
    while client.send("POST", f"{of('strategies', LIVE)}?dryRun=All", traded("probe", LIVE, "Live"))[0] != 201:
        assert time.monotonic() < deadline, "the schema does not admit Live"
        time.sleep(0.1)
    return modes


def _make_certificates_known(client: Server) -> None:
    """The kind of cert-manager, unless another test has made it."""
    code, answer = client.send("POST", f"{CRD.rpartition('/')[0]}", CERTIFICATES_CRD)
    assert code in (201, 409), answer
    deadline = time.monotonic() + 30
    while not _are_certificates_served(client):
        assert time.monotonic() < deadline, "Certificates are not served"
        time.sleep(0.1)


def _are_certificates_served(client: Server) -> bool:
    try:
        return client.send("GET", f"{COLLECTIONS['certificates']}/certificates")[0] == 200
    except json.JSONDecodeError:  # of a group that it does not know yet the API server says so in plain text
        return False


def _wait_for_policies(client: Server) -> None:
    """The API server obeys a policy a moment after it has taken it."""
    labels = {"risk.trading.crowetrade.io/tier": "one"}
    pods = {"serviceAccountName": "venue-x", "containers": [{"name": "c", "image": "i"}]}
    probes: list[tuple[str, Object, str]] = [
        (of("strategies", RESEARCH), traded("probe", RESEARCH, **labels), TRADER),
        (of("venueconnections", VENUES), keyed("probe", VENUES), PLATFORM),
        (f"/api/v1/namespaces/{RESEARCH}/pods", {"metadata": {"name": "probe"}, "spec": pods}, TRADER),
        (f"/api/v1/namespaces/{RESEARCH}/serviceaccounts/venue-x/token", TOKEN_REQUEST, TRADER),
        (f"/api/v1/namespaces/{RESEARCH}/configmaps", {"metadata": {"name": "probe"}}, OPERATOR),
        (of("risklimits", VENUES), selecting("probe", "app.kubernetes.io/name"), RISK),
    ]
    client.make(f"/api/v1/namespaces/{RESEARCH}/serviceaccounts", {"metadata": {"name": "venue-x"}})
    deadline = time.monotonic() + 30
    for path, body, user in probes:
        while client.send("POST", f"{path}?dryRun=All", body, user)[0] not in (403, 422):
            assert time.monotonic() < deadline, f"the policy of {path} is not obeyed"
            time.sleep(0.1)


TOKEN_REQUEST: Object = {
    "apiVersion": "authentication.k8s.io/v1",
    "kind": "TokenRequest",
    "spec": {"audiences": ["vault"]},
}


def traded(name: str, namespace: str, mode: str = "Paper", at: str = VENUES, **labels: str) -> Object:
    body = strategy_manifest(name, namespace, labels)
    body["spec"] |= {"mode": mode}
    return change(body, "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": at})


def keyed(name: str, namespace: str) -> Object:
    body = change(venue_manifest(name, namespace), "spec.credentials", {"secretRef": {"name": "key"}})
    return change(body, "spec.simulated.apiKeySha256", "0" * 64)


def selecting(name: str, key: str) -> Object:
    body = limit_manifest(name, VENUES)
    return change(body, "spec.scope.strategySelector", {"matchLabels": {key: "x"}})


def made(server: Server, body: Object, plural: str = "strategies", user: str = "") -> str:
    """Creates the object; returns its path."""
    body["metadata"]["name"] += str(next(_names))
    path = of(plural, body["metadata"]["namespace"])
    code, answer = server.send("POST", path, body, user)
    assert code == 201, answer
    return f"{path}/{body['metadata']['name']}"


# --- going live


def test_going_live_takes_the_verb_promote(server: Server) -> None:
    body = traded("live", LIVE, "Live")
    refused(server.send("POST", of("strategies", LIVE), body, TRADER), "take the verb promote on strategies")
    path = made(server, traded("paper", LIVE), user=TRADER)
    live = {"spec": {"mode": "Live"}}
    refused(server.send("PATCH", path, live, TRADER), "spec.mode Live: going live")
    assert server.send("PATCH", path, live, PROMOTER)[0] == 200
    assert server.send("PATCH", of("strategies", RESEARCH, "none"), live, PROMOTER)[0] == 404


LIVE_CHANGES: dict[str, tuple[Object, bool]] = {
    "more capital": ({"capital": {"amount": "9000000", "currency": "USD"}}, False),
    "another image": ({"agents": {"image": "registry.example.com/alpha:2"}}, False),
    "other parameters": ({"model": {"parameters": {"fast": 3}}}, False),
    "suspending": ({"suspend": True}, True),
    "nothing": ({}, True),
    "back to paper": ({"mode": "Paper"}, True),
}


@pytest.mark.parametrize("case", LIVE_CHANGES)
def test_what_is_live_is_changed_by_who_may_promote_and_stopped_by_who_may_write(server: Server, case: str) -> None:
    spec, allowed = LIVE_CHANGES[case]
    path = made(server, traded("live", LIVE, "Live"))
    answer = server.send("PATCH", path, {"spec": spec}, TRADER)
    if allowed:
        assert answer[0] == 200, answer
    else:
        refused(answer, "changing or resuming what is live")
        assert server.send("PATCH", path, {"spec": spec}, PROMOTER)[0] == 200


def test_what_is_live_and_suspended_is_resumed_by_who_may_promote(server: Server) -> None:
    path = made(server, change(traded("live", LIVE, "Live"), "spec.suspend", True))
    refused(server.send("PATCH", path, {"spec": {"suspend": False}}, TRADER), "changing or resuming")
    assert server.send("PATCH", path, {"spec": {"suspend": False}}, PROMOTER)[0] == 200


# --- labels


def test_labels_of_a_strategy_are_changed_by_who_may_edit_the_venues_limits(server: Server) -> None:
    path = made(server, traded("ema", RESEARCH, desk="fx"), user=TRADER)
    relabelled = {"metadata": {"labels": {"desk": "rates"}}}
    words = "metadata.labels[desk]: a RiskLimit may select by it, so only who may update RiskLimits in namespace auth-v"
    refused(server.send("PATCH", path, relabelled, TRADER), words)
    refused(server.send("PATCH", path, {"metadata": {"labels": {"desk": None}}}, TRADER), "metadata.labels[desk]")
    refused(server.send("PATCH", path, {"metadata": {"labels": {"more": "x"}}}, TRADER), "metadata.labels[more]")
    tools = {"metadata": {"labels": {"app.kubernetes.io/instance": "argo", "argoproj.io/instance": "x"}}}
    assert server.send("PATCH", path, tools, TRADER)[0] == 200
    assert server.send("PATCH", path, {"spec": {"suspend": True}}, TRADER)[0] == 200, "its spec is its author's"
    assert server.send("PATCH", path, relabelled, RISK)[0] == 200


def test_guarded_labels_are_written_by_who_may_edit_the_venues_limits_alone(server: Server) -> None:
    body = traded("ema", RESEARCH, **{"risk.trading.crowetrade.io/tier": "wide"})
    refused(server.send("POST", of("strategies", RESEARCH), body, TRADER), "risk.trading.crowetrade.io/tier]")
    assert made(server, body, user=RISK)


def test_at_venues_of_several_namespaces_it_takes_the_right_in_all(server: Server) -> None:
    body = traded("two", RESEARCH, desk="fx")
    body["spec"]["instruments"].append({"symbol": "GBP-USD", "venueRef": {"name": "other", "namespace": LIVE}})
    path = made(server, body, user=TRADER)
    relabelled = {"metadata": {"labels": {"desk": "rates"}}}
    refused(server.send("PATCH", path, relabelled, RISK), "who may update RiskLimits in every namespace")
    assert server.send("PATCH", path, relabelled)[0] == 200, "an administrator may"


def test_a_strategy_that_moves_and_changes_its_labels_takes_the_right_at_both_ends(server: Server) -> None:
    """Also where its author may edit the limits at the other end, as Rita may those of the live traders here."""
    server.bind(RISK, "crowetrade-strategies-editor", LIVE)
    path = made(server, traded("mover", LIVE, at=LIVE, desk="fx"))
    moved = traded("mover", LIVE, desk="rates")["spec"]
    both = {"metadata": {"labels": {"desk": "rates"}}, "spec": {"instruments": moved["instruments"]}}
    refused(server.send("PATCH", path, both, RISK), "who may update RiskLimits in every namespace")
    assert server.send("PATCH", path, {"spec": both["spec"]}, RISK)[0] == 200, "nobody guards where it trades"
    assert server.send("PATCH", path, {"metadata": both["metadata"]}, RISK)[0] == 200, "she edits the limits there"


def test_a_strategy_with_a_guarded_label_comes_by_who_may_edit_the_limits_where_it_comes_to(server: Server) -> None:
    path = made(server, traded("mover", RESEARCH, at=RESEARCH, **{"risk.trading.crowetrade.io/tier": "wide"}))
    moved = {"spec": {"instruments": traded("mover", RESEARCH)["spec"]["instruments"]}}
    refused(server.send("PATCH", path, moved, TRADER), "risk.trading.crowetrade.io/tier]: a RiskLimit may select")
    assert server.send("PATCH", path, moved)[0] == 200, "an administrator may"


def test_no_limit_selects_by_labels_of_tools(server: Server) -> None:
    body = selecting("tools", "app.kubernetes.io/part-of")
    refused(server.send("POST", of("risklimits", VENUES), body, RISK), "labels of tools")
    assert made(server, selecting("tier", "risk.trading.crowetrade.io/tier"), "risklimits", RISK)


# --- keys


def test_a_key_from_a_secret_is_refused_in_namespaces_that_are_live(server: Server) -> None:
    refused(
        server.send("POST", of("venueconnections", VENUES), keyed("k", VENUES), PLATFORM),
        "take keys from Vault alone: write spec.credentials.vault",
    )
    assert made(server, keyed("k", RESEARCH), "venueconnections", PLATFORM)
    vault = change(keyed("k", VENUES), "spec.credentials", {"vault": {"path": "secret/data/k", "role": "venue-k"}})
    assert made(server, vault, "venueconnections", PLATFORM)


# --- service accounts


def workload(kind: str, account: str) -> tuple[str, Object]:
    """Path of the collection, and an object whose pods run with the account."""
    pod = {"serviceAccountName": account, "restartPolicy": "Always", "containers": [{"name": "c", "image": "i"}]}
    template: Object = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
    spec: Object = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    once = {"template": {**template, "spec": {**pod, "restartPolicy": "Never"}}}
    groups = {"pods": "/api/v1", "jobs": "/apis/batch/v1", "cronjobs": "/apis/batch/v1"}
    specs = {
        "pods": pod,
        "statefulsets": {**spec, "serviceName": "s"},
        "jobs": once,
        "cronjobs": {"schedule": "0 0 * * *", "jobTemplate": {"spec": once}},
    }
    path = f"{groups.get(kind, '/apis/apps/v1')}/namespaces/{RESEARCH}/{kind}"
    return path, {"metadata": {"name": f"w{next(_names)}"}, "spec": specs.get(kind, spec)}


KINDS = ("pods", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs")


@pytest.mark.parametrize("account", ["venue-sim-fx", "strategy-ema"])
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_else_runs_pods_with_the_service_account_of_a_gateway_or_strategy(
    server: Server, kind: str, account: str
) -> None:
    path, body = workload(kind, account)
    refused(server.send("POST", path, body, TRADER), f"serviceAccountName {account}: service accounts named venue-*")
    path, body = workload(kind, "default")
    code, answer = server.send("POST", path, body, TRADER)
    assert code == 201, answer


IDENTITY = "venue-sim-fx-identity"
FROM_KEY = {"name": "K", "valueFrom": {"secretKeyRef": {"name": IDENTITY, "key": "tls.key"}}}
READS_IDENTITY: dict[str, Object] = {
    "a volume": {"volumes": [{"name": "v", "secret": {"secretName": IDENTITY}}]},
    "a projected volume": {
        "volumes": [
            {"name": "t", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": IDENTITY}}]}}
        ]
    },
    "a variable": {"containers": [{"name": "c", "image": "i", "env": [{"name": "A", "value": "b"}, FROM_KEY]}]},
    "all variables": {"containers": [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": IDENTITY}}]}]},
    "a variable of an init container": {"initContainers": [{"name": "i", "image": "i", "env": [FROM_KEY]}]},
    "the volume of a strategy": {"volumes": [{"name": "v", "secret": {"secretName": "strategy-ema-identity"}}]},
    "a second volume": {"volumes": [{"name": "e", "emptyDir": {}}, {"name": "v", "secret": {"secretName": IDENTITY}}]},
    "what images are pulled with": {"imagePullSecrets": [{"name": "registry"}, {"name": IDENTITY}]},
    **{
        f"a volume of {source}": {"volumes": [{"name": "v", source: {**fields, reference: {"name": IDENTITY}}}]}
        for source, reference, fields in (
            ("cephfs", "secretRef", {"monitors": ["m"]}),
            ("cinder", "secretRef", {"volumeID": "v"}),
            ("csi", "nodePublishSecretRef", {"driver": "d.example"}),
            ("flexVolume", "secretRef", {"driver": "a/b"}),
            ("iscsi", "secretRef", {"targetPortal": "p", "iqn": "iqn.2026-11.example:a", "lun": 1}),
            ("rbd", "secretRef", {"monitors": ["m"], "image": "i"}),
            ("scaleIO", "secretRef", {"gateway": "g", "system": "s", "volumeName": "v"}),
            ("storageos", "secretRef", {"volumeName": "v"}),
        )
    },
    "a volume of azureFile": {"volumes": [{"name": "v", "azureFile": {"secretName": IDENTITY, "shareName": "s"}}]},
}


@pytest.mark.parametrize(
    ("kind", "how"), [*(("pods", how) for how in READS_IDENTITY), *((kind, "a volume") for kind in KINDS[1:])]
)
def test_nobody_elses_pods_read_the_secret_with_the_identity_of_a_gateway_or_strategy(
    server: Server, kind: str, how: str
) -> None:
    """Where cert-manager, or whoever brings files, has put its private key."""
    path, body = workload(kind, "default")
    _pod_of(body, kind).update(READS_IDENTITY[how])
    refused(server.send("POST", path, body, TRADER), "hold the private keys of gateways and strategies")
    other = json.loads(json.dumps(body).replace("-identity", "-other"))
    code, answer = server.send("POST", path, other, TRADER)
    assert code == 201, answer
    where = f"{path}/{body['metadata']['name']}"
    if kind not in ("pods", "jobs"):  # their pods stay what they are, whoever asks
        changed = {"spec": body["spec"]}
        refused(server.send("PATCH", where, changed, TRADER), "hold the private keys of gateways and strategies")


def test_the_table_has_every_field_of_a_pod_that_names_a_secret(server: Server) -> None:
    """As the API server knows them: another version may bring more."""
    schemas = server.send("GET", "/openapi/v3/api/v1")[1]["components"]["schemas"]
    table = {path for spec in READS_IDENTITY.values() for path in _secrets_in(spec)}
    # A path on the node.
    assert set(_secrets_of("io.k8s.api.core.v1.PodSpec", schemas)) - {"volumes.cephfs.secretFile"} == table


def _secrets_of(kind: str, schemas: Object, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Paths of the fields below this schema that have to do with Secrets."""
    for name, field in schemas[kind].get("properties", {}).items():
        # All containers are of one kind here.
        below = (*path, "containers" if name.endswith("Containers") else name)
        one = field.get("items", field)
        reference = next((part["$ref"] for part in (one, *one.get("allOf", [])) if "$ref" in part), "")
        if "secret" in name.lower():
            yield ".".join(below)
        elif reference:
            yield from _secrets_of(reference.rpartition("/")[2], schemas, below)


def _secrets_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The same of an object."""
    if isinstance(value, list):
        for item in value:
            yield from _secrets_in(item, path)
    elif isinstance(value, dict):
        for name, field in value.items():
            below = (*path, "containers" if name.endswith("Containers") else name)
            if "secret" in name.lower():
                yield ".".join(below)
            else:
                yield from _secrets_in(field, below)


def test_nobody_looks_at_an_identity_by_a_container_that_is_added_to_a_running_pod(server: Server) -> None:
    path, body = workload("pods", "default")
    assert server.send("POST", path, body, TRADER)[0] == 201
    pod = f"{path}/{body['metadata']['name']}"
    stored = server.send("GET", pod)[1]
    for env, expected in (([FROM_KEY], 403), ([], 200)):
        stored["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox", "env": env}]
        code, answer = server.send("PUT", f"{pod}/ephemeralcontainers", stored, TRADER)
        assert code == expected, answer


def _pod_of(body: Object, kind: str) -> Object:
    """The pod's spec in such an object."""
    spec: Object = body["spec"]
    if kind == "cronjobs":
        spec = spec["jobTemplate"]["spec"]
    found: Object = spec if kind == "pods" else spec["template"]["spec"]
    return found


def test_the_operators_pods_read_the_secret_with_their_identity(server: Server) -> None:
    body = owned("mounts", "venue-mounts")
    volume = {"name": "identity", "secret": {"secretName": "venue-mounts-identity"}}
    _pod_of(body, "deployments")["volumes"] = [volume]
    path = f"/apis/apps/v1/namespaces/{RESEARCH}/deployments"
    assert server.send("POST", path, body, OPERATOR)[0] == 201
    assert server.send("PATCH", f"{path}/venue-mounts", {"spec": {"replicas": 0}}, TRADER)[0] == 200
    for kind, user in (("replicasets", DEPLOYMENT_CONTROLLER), ("pods", REPLICASET_CONTROLLER)):
        path, body = workload(kind, "venue-mounts")
        _pod_of(body, kind)["volumes"] = [volume]
        assert server.send("POST", path, body, user)[0] == 201


def owned(name: str, account: str, kind: str = "VenueConnection") -> Object:
    """A Deployment as the operator makes it."""
    _, body = workload("deployments", account)
    body["metadata"] = {
        "name": account,
        "labels": {MANAGED_BY_LABEL: MANAGED_BY},
        "ownerReferences": [{"apiVersion": API_VERSION, "kind": kind, "name": name, "uid": "u-1", "controller": True}],
    }
    return body


def test_the_operators_deployment_and_what_kubernetes_makes_of_it_run_with_it(server: Server) -> None:
    deployments = f"/apis/apps/v1/namespaces/{RESEARCH}/deployments"
    code, stored = server.send("POST", deployments, owned("made", "venue-made"), OPERATOR)
    assert code == 201, stored
    assert stored["spec"]["template"]["spec"]["serviceAccountName"] == "venue-made"
    for kind, user in (("replicasets", DEPLOYMENT_CONTROLLER), ("pods", REPLICASET_CONTROLLER)):
        path, body = workload(kind, "venue-made")
        assert server.send("POST", path, body, user)[0] == 201
        path, body = workload(kind, "venue-made")
        refused(server.send("POST", path, body, OPERATOR), "only the operator runs pods with them")
    path = f"{deployments}/venue-made"
    another = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "evil"}]}}}}
    refused(server.send("PATCH", path, another, TRADER), "create or change the VenueConnection or Strategy")
    assert server.send("PATCH", path, {"spec": {"replicas": 0}}, TRADER)[0] == 200, "its pods stay what they are"
    assert server.send("PATCH", path, another, OPERATOR)[0] == 200


def test_a_pod_that_runs_gets_neither_another_image_nor_a_container_to_look_into_it(server: Server) -> None:
    path, body = workload("pods", "venue-made")
    assert server.send("POST", path, body, REPLICASET_CONTROLLER)[0] == 201
    pod = f"{path}/{body['metadata']['name']}"
    words = "only the operator runs pods with them"
    code, stored = server.send("GET", pod)
    assert code == 200
    stored["spec"]["containers"][0]["image"] = "evil"
    refused(server.send("PUT", pod, stored, TRADER), words)
    assert server.send("PATCH", pod, {"metadata": {"labels": {"a": "c"}}}, TRADER)[0] == 200
    stored = server.send("GET", pod)[1]
    stored["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox"}]
    refused(server.send("PUT", f"{pod}/ephemeralcontainers", stored, TRADER), words)


def test_a_token_goes_to_the_node_alone(server: Server) -> None:
    path = f"/api/v1/namespaces/{RESEARCH}/serviceaccounts"
    refused(
        server.send("POST", f"{path}/venue-x/token", TOKEN_REQUEST, TRADER),
        "service account venue-x: tokens of gateways and strategies are given to the node",
    )
    server.make(path, {"metadata": {"name": "other"}})
    assert server.send("POST", f"{path}/other/token", TOKEN_REQUEST, TRADER)[0] == 201
    code, answer = server.send("POST", f"{path}/venue-x/token", TOKEN_REQUEST, "system:node:n", "system:nodes")
    assert code == 201, answer


NODES: Object = {
    "metadata": {"generateName": "test-"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "test-workloads"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
}


# --- the operator


def child(name: str = "child", **metadata: Any) -> Object:
    return {"metadata": {**owned("x", "venue-x")["metadata"], "name": f"{name}{next(_names)}", **metadata}}


CHILDREN = ("configmaps", "services", "serviceaccounts", "networkpolicies", "poddisruptionbudgets", "certificates")
CERTIFICATE: Object = {
    "secretName": "venue-x-identity",
    "uris": [f"spiffe://crowetrade.local/ns/{RESEARCH}/sa/venue-x"],
    "dnsNames": [f"venue-x.{RESEARCH}.svc", f"venue-x.{RESEARCH}.svc.cluster.local"],
}
SPECS: dict[str, Object] = {
    "certificates": {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "spec": CERTIFICATE},
    "services": {"spec": {"ports": [{"port": 1}]}},
    "networkpolicies": {"spec": {"podSelector": {}}},
    "poddisruptionbudgets": {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"a": "b"}}}},
}
COLLECTIONS = {
    "certificates": "/apis/cert-manager.io/v1",
    "networkpolicies": "/apis/networking.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
}


@pytest.mark.parametrize("plural", CHILDREN)
def test_the_operator_writes_children_of_our_resources_alone(server: Server, plural: str) -> None:
    path = f"{COLLECTIONS.get(plural, '/api/v1')}/namespaces/{RESEARCH}/{plural}"
    body = {**child(), **SPECS.get(plural, {})}
    assert server.send("POST", path, body, OPERATOR)[0] == 201
    words = "the operator writes only objects with its label"
    for without in ("labels", "ownerReferences"):
        other = {**child(), **SPECS.get(plural, {})}
        del other["metadata"][without]
        refused(server.send("POST", path, other, OPERATOR), words)
    theirs = {"metadata": {"name": f"theirs{next(_names)}"}, **SPECS.get(plural, {})}
    assert server.send("POST", path, theirs)[0] == 201
    where = f"{path}/{theirs['metadata']['name']}"
    taken = {"metadata": child()["metadata"] | {"name": theirs["metadata"]["name"]}}
    refused(server.send("PATCH", where, taken, OPERATOR), f"the operator does not touch {plural}")
    refused(server.send("DELETE", where, None, OPERATOR), f"the operator does not touch {plural}")
    assert server.send("DELETE", f"{path}/{body['metadata']['name']}", None, OPERATOR)[0] == 200


OTHER_CERTIFICATES: dict[str, Object] = {
    "the name of another venue": {"uris": [f"spiffe://crowetrade.local/ns/{RESEARCH}/sa/venue-other"]},
    "the name in another namespace": {"uris": [f"spiffe://crowetrade.local/ns/{VENUES}/sa/venue-x"]},
    "one more name": {"uris": [*CERTIFICATE["uris"], f"spiffe://crowetrade.local/ns/{SYSTEM_NAMESPACE}/sa/nats"]},
    "the host of another service": {"dnsNames": [f"nats.{SYSTEM_NAMESPACE}.svc"]},
    "the name of a strategy of its name": {
        "secretName": "strategy-x-identity",
        "uris": [f"spiffe://crowetrade.local/ns/{RESEARCH}/sa/strategy-x"],
        "dnsNames": [f"strategy-x.{RESEARCH}.svc"],
    },
    "a Secret that is not its own": {"secretName": "venue-other-identity"},
    "an authority": {"isCA": True},
}


@pytest.mark.parametrize("what", OTHER_CERTIFICATES)
def test_the_operator_has_no_certificate_made_for_another(server: Server, what: str) -> None:
    path = f"{COLLECTIONS['certificates']}/namespaces/{RESEARCH}/certificates"
    body = {**child(), **SPECS["certificates"], "spec": CERTIFICATE | OTHER_CERTIFICATES[what]}
    words = "only for certificates of the service account of the resource that they are for"
    refused(server.send("POST", path, body, OPERATOR), words)
    assert server.send("POST", path, body)[0] == 201


def test_the_operator_repairs_what_a_person_has_taken_its_label_from(server: Server) -> None:
    path, body = f"/api/v1/namespaces/{RESEARCH}/configmaps", child()
    assert server.send("POST", path, body, OPERATOR)[0] == 201
    where = f"{path}/{body['metadata']['name']}"
    assert server.send("PATCH", where, {"metadata": {"labels": None}})[0] == 200
    assert server.send("PATCH", where, {"metadata": {"labels": {MANAGED_BY_LABEL: MANAGED_BY}}}, OPERATOR)[0] == 200


def test_the_operator_runs_pods_with_the_account_of_their_resource_alone(server: Server) -> None:
    path = f"/apis/apps/v1/namespaces/{RESEARCH}/deployments"
    others = [("VenueConnection", account) for account in ("default", "venue-other", "strategy-other", "strategy-mine")]
    for kind, account in (*others, ("Strategy", "venue-mine"), ("RiskLimit", "venue-mine")):
        body = owned("mine", account, kind)
        refused(server.send("POST", path, body, OPERATOR), "only with the service account of the resource")
    assert server.send("POST", path, owned("mine", "strategy-mine", "Strategy"), OPERATOR)[0] == 201


def test_the_operator_changes_nothing_that_users_have_said(server: Server) -> None:
    path = made(server, traded("said", RESEARCH, desk="fx"), user=TRADER)
    words = "the operator changes neither spec nor labels of a resource"
    refused(server.send("PATCH", path, {"spec": {"suspend": True}}, OPERATOR), words)
    refused(server.send("PATCH", path, {"metadata": {"labels": {"app.kubernetes.io/x": "y"}}}, OPERATOR), words)
    assert server.send("PATCH", path, {"metadata": {"finalizers": [f"{GROUP}/stop-trading"]}}, OPERATOR)[0] == 200
    assert server.send("PATCH", path, {"metadata": {"finalizers": []}}, OPERATOR)[0] == 200


def test_the_operator_creates_kill_switches_that_are_engaged_and_nothing_else(server: Server) -> None:
    engaged = change(kill_manifest(f"k{next(_names)}", RESEARCH), "spec.engagedBy", "")
    armed = change(engaged, "spec.engaged", False)
    armed["metadata"]["name"] = f"k{next(_names)}"
    assert server.send("POST", of("killswitches", RESEARCH), engaged, OPERATOR)[0] == 201
    words = "the operator creates KillSwitches alone, engaged"
    refused(server.send("POST", of("killswitches", RESEARCH), armed, OPERATOR), words)


def test_what_the_operator_keeps_of_the_audit_trail_is_in_its_own_config_maps(server: Server) -> None:
    server.send("POST", "/api/v1/namespaces", {"metadata": {"name": SYSTEM_NAMESPACE}})
    path = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"
    for name in KEPT_CONFIG_MAPS:
        code, answer = server.send("POST", path, {"metadata": {"name": name}}, OPERATOR)
        assert code in (201, 409), answer
        assert server.send("PATCH", f"{path}/{name}", {"data": {"a": "1"}}, OPERATOR)[0] == 200
        refused(server.send("DELETE", f"{path}/{name}", None, OPERATOR), "does not touch configmaps")
    refused(server.send("POST", path, {"metadata": {"name": "other"}}, OPERATOR), "only objects with its label")
    elsewhere = f"/api/v1/namespaces/{RESEARCH}/configmaps"
    refused(
        server.send("POST", elsewhere, {"metadata": {"name": KEPT_CONFIG_MAPS[0]}}, OPERATOR), "only objects with its"
    )
