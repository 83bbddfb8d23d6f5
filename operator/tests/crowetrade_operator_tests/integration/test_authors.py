"""Who changed a resource, as the chart's policies let it be known: at a real API server that knows no
MutatingAdmissionPolicy, and at one that does."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from crowetrade_api.names import CHANGED_BY_ANNOTATION, GROUP, VERSION
from crowetrade_operator.cluster.client import connect
from crowetrade_operator_tests.charts import of_kind, rendered
from crowetrade_operator_tests.conftest import install_crds
from crowetrade_operator_tests.integration.test_rearm import Server
from crowetrade_operator_tests.samples import change, kill_manifest, limit_manifest
from crowetrade_operator_tests.servers import ApiServer, start_api_server

pytestmark = pytest.mark.integration
Object = dict[str, Any]
DESK = "authors-desk"
ALICE, BOB, CAROL, ARGO_CD = "alice", "bob", "carol", "system:serviceaccount:argocd:argocd-application-controller"
MUTATING = "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy"
KINDS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
}
_names = itertools.count(1)


def at(plural: str, name: str = "") -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{DESK}/{plural}" + (f"/{name}" if name else "")


def path_of(policy: Object) -> str:
    return f"/apis/{policy['apiVersion']}/{KINDS[policy['kind']]}"


def install(api_server: ApiServer, *served: str) -> Iterator[Server]:
    """The API server with our kinds, the policies about authors, and people who may do everything."""
    asyncio.run(_with_crds(api_server))
    client = Server(api_server)
    client.make("/api/v1/namespaces", {"metadata": {"name": DESK}})
    policies = [
        item for item in of_kind(rendered(served=served), *KINDS) if item["metadata"]["name"] == "crowetrade-authors"
    ]
    for item in policies:
        client.make(path_of(item), item)
    for user in (ALICE, BOB, CAROL, ARGO_CD):
        client.bind(user, "cluster-admin", DESK)
    plain, deadline = limit_manifest(namespace=DESK), time.monotonic() + 30
    while not obeyed(client, plain):
        assert time.monotonic() < deadline, "the policies are not obeyed"
        time.sleep(0.1)
    yield client
    for item in policies:
        client.send("DELETE", f"{path_of(item)}/{item['metadata']['name']}")
    client.close()


def obeyed(client: Server, plain: Object) -> bool:
    """Whether the API server has read the policies: until then it answers 503, or lets everything pass."""
    path = f"{at('risklimits')}?dryRun=All"
    forged = client.send("POST", path, by("eve", plain), ALICE)[1]
    return client.send("POST", path, plain, ALICE)[0] == 201 and author(forged) != "eve"


async def _with_crds(api_server: ApiServer) -> None:
    cluster = await connect(str(api_server.kubeconfig))
    try:
        await install_crds(cluster)
    finally:
        await cluster.close()


@pytest.fixture(scope="module")
def validating(api_server: ApiServer) -> Iterator[Server]:
    """An API server that only validates, as most are up to Kubernetes 1.35."""
    yield from install(api_server)


@pytest.fixture(scope="module")
def mutating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An API server that writes the author itself."""
    server, processes = start_api_server(
        tmp_path_factory.mktemp("mutating"),
        "--feature-gates=MutatingAdmissionPolicy=true",
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
    )
    yield from install(server, MUTATING)
    for process in processes:
        process.stop()


def by(user: str | None, body: Object) -> Object:
    """The body with an author."""
    return change(body, "metadata.annotations", {CHANGED_BY_ANNOTATION: user})


def author(answer: Object) -> str:
    """Who is named in a stored object."""
    return str((answer.get("metadata", {}).get("annotations") or {}).get(CHANGED_BY_ANNOTATION, ""))


def limit(server: Server, user: str, named: str = "") -> str:
    """A RiskLimit that a user has made; returns its name."""
    body = change(limit_manifest(namespace=DESK), "metadata.name", f"l{next(_names)}")
    code, answer = server.send("POST", at("risklimits"), by(named, body) if named else body, user)
    assert code == 201, answer
    return str(body["metadata"]["name"])


SPEC: Object = {"spec": {"limits": {"maxOrderQuantity": "7"}}}
LABEL: Object = {"metadata": {"labels": {"a": "b"}}}


def patch(server: Server, name: str, body: Object, user: str) -> tuple[int, Object]:
    return server.send("PATCH", at("risklimits", name), body, user)


def test_nobody_names_somebody_else(validating: Server) -> None:
    body = by(BOB, change(limit_manifest(namespace=DESK), "metadata.name", "forged"))
    code, answer = validating.send("POST", at("risklimits"), body, ALICE)
    assert code == 422
    assert (
        f"metadata.annotations[{CHANGED_BY_ANNOTATION}]: write alice, which is the name that you" in answer["message"]
    )
    assert patch(validating, limit(validating, ALICE), by(BOB, {"metadata": {}}), ALICE)[0] == 422


@pytest.mark.parametrize(
    "body", [SPEC, LABEL, {"metadata": {"annotations": {"a": "b"}}}], ids=["spec", "label", "note"]
)
def test_nobody_leaves_somebody_elses_name_on_a_change(validating: Server, body: Object) -> None:
    name = limit(validating, ALICE, ALICE)
    code, answer = patch(validating, name, body, BOB)
    assert code == 422
    assert "write bob, which is the name that you are known by here, or take it away" in answer["message"]
    code, answer = patch(validating, name, {**SPEC, **by(BOB, {"metadata": {}})}, BOB)
    assert (code, author(answer)) == (200, BOB)
    code, answer = patch(validating, name, {**SPEC, **by(None, {"metadata": {}})}, ALICE)
    assert (code, author(answer)) == (200, "")


def test_without_a_name_everything_works_as_before(validating: Server) -> None:
    name = limit(validating, ALICE)
    for user in (ALICE, BOB, ARGO_CD):
        code, answer = patch(validating, name, change(SPEC, "spec.limits.maxOrderQuantity", str(len(user))), user)
        assert (code, author(answer)) == (200, "")


def test_finalizers_and_status_need_no_name(validating: Server) -> None:
    name = limit(validating, ALICE, ALICE)
    assert patch(validating, name, {"metadata": {"finalizers": ["example.com/a"]}}, BOB)[0] == 200
    assert patch(validating, name, {"metadata": {"finalizers": []}}, BOB)[0] == 200
    path = f"{at('risklimits', name)}/status"
    assert validating.send("PATCH", path, {"status": {"observedGeneration": 1}}, BOB)[0] == 200


def test_nothing_stands_between_a_person_and_the_killswitch(validating: Server) -> None:
    body = by(ALICE, kill_manifest("stop", DESK))
    body["spec"] = {"reason": "test", "engaged": False}
    code, answer = validating.send("POST", at("killswitches"), body, ALICE)
    assert code == 201, answer
    path = at("killswitches", "stop")
    assert validating.send("PATCH", path, {"spec": {"reason": "other"}}, BOB)[0] == 422
    forged = {"spec": {"engaged": True}, **by(BOB, {"metadata": {}})}
    assert validating.send("PATCH", path, forged, CAROL)[0] == 422
    assert validating.send("PATCH", path, {"spec": {"engaged": True, "engagedBy": BOB}}, BOB)[0] == 200
    assert validating.send("PATCH", path, {"spec": {"mode": "Flatten"}}, BOB)[0] == 200


def test_the_api_server_writes_who_it_was(mutating: Server) -> None:
    name = limit(mutating, ALICE, BOB)
    assert author(mutating.send("GET", at("risklimits", name))[1]) == ALICE
    for user, body in ((BOB, SPEC), (ARGO_CD, LABEL), (ALICE, by(BOB, {"metadata": {}}))):
        code, answer = patch(mutating, name, body, user)
        assert (code, author(answer)) == (200, user), answer


def test_what_is_no_change_has_no_author(mutating: Server) -> None:
    name = limit(mutating, ALICE)
    assert patch(mutating, name, {"metadata": {"finalizers": ["example.com/a"]}}, BOB)[0] == 200
    code, answer = patch(mutating, name, {"metadata": {"finalizers": []}}, BOB)
    assert (code, author(answer)) == (200, ALICE)


def test_server_side_apply_as_argo_cd_does_it(mutating: Server) -> None:
    name = limit(mutating, ALICE)
    body = change(limit_manifest(namespace=DESK), "metadata.name", name)
    path = f"{at('risklimits', name)}?fieldManager=argocd-controller&force=true"
    applied = change(body, "spec.limits.maxOrderQuantity", "9")
    for _ in range(2):
        code, answer = mutating.send("PATCH", path, applied, ARGO_CD, patch="apply-patch+yaml")
        assert (code, author(answer)) == (200, ARGO_CD), answer.get("message")
    code, again = mutating.send("PATCH", path, applied, ARGO_CD, patch="apply-patch+yaml")
    assert (code, author(again)) == (200, ARGO_CD)
    assert again["metadata"]["generation"] == answer["metadata"]["generation"]
