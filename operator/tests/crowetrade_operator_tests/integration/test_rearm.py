"""Who may engage, loosen, re-arm and delete a KillSwitch, and clear a breach: the chart's policies and roles at a real
API server, as the users whom it knows."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest

from crowetrade_api.hardness import at_least
from crowetrade_api.kill_order import MODES
from crowetrade_api.names import CLEAR_BREACH_ANNOTATION, CLEAR_HALT_ANNOTATION, GROUP, VERSION
from crowetrade_operator.cluster.client import connect
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.conftest import install_crds
from crowetrade_operator_tests.samples import change, kill_manifest, limit_manifest, venue_manifest
from crowetrade_operator_tests.servers import TOKEN, ApiServer

pytestmark = pytest.mark.integration
Object = dict[str, Any]
DESK = "rearm-desk"
ALICE, BOB, CAROL, DAVE = "alice", "bob", "carol", "dave"
"""Alice and Dave may engage in the namespace, Bob is its risk officer, Carol may engage everywhere. Dave and Bob may
change VenueConnections."""
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:crowetrade-operator"
NAMESPACE_CONTROLLER = "system:serviceaccount:kube-system:namespace-controller"
PATHS = {
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
}
RBAC = "/apis/rbac.authorization.k8s.io/v1"
_names = itertools.count(1)


class Server:
    """Requests in the name of somebody."""

    def __init__(self, api_server: ApiServer) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._connection = http.client.HTTPSConnection(api_server.url.removeprefix("https://"), context=context)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        user: str = "",
        group: str = "",
        patch: str = "merge-patch+json",
    ) -> tuple[int, Object]:
        """Status code and answer; without a user it is the administrator who asks."""
        content = f"application/{patch}" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": content}
        if user:
            headers["Impersonate-User"] = user
        if group:
            headers["Impersonate-Group"] = group
        self._connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = self._connection.getresponse()
        return response.status, json.loads(response.read())

    def make(self, path: str, body: Object) -> None:
        """Creates an object as the administrator."""
        code, answer = self.send("POST", path, body)
        assert code == 201, answer

    def bind(self, user: str, role: str, namespace: str = DESK) -> None:
        """Gives a user a ClusterRole in a namespace, or in all when it is empty."""
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": {"generateName": "test-"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
        where = f"/namespaces/{namespace}/rolebindings" if namespace else "/clusterrolebindings"
        self.make(f"{RBAC}{where}", body)


def at(plural: str, name: str = "") -> str:
    return f"/apis/{GROUP}/{VERSION}/namespaces/{DESK}/{plural}" + (f"/{name}" if name else "")


@pytest.fixture(scope="module")
def server(api_server: ApiServer) -> Iterator[Server]:
    """The API server with our kinds, policies, roles and people."""
    asyncio.run(_with_crds(api_server))
    client = Server(api_server)
    client.make("/api/v1/namespaces", {"metadata": {"name": DESK}})
    installed = of_kind(rendered(), *PATHS)
    for item in installed:
        client.make(PATHS[item["kind"]], item)
    for user in (ALICE, BOB, DAVE, OPERATOR, NAMESPACE_CONTROLLER):
        client.bind(user, "crowetrade-killswitches-engager")
    for user in (BOB, OPERATOR):
        client.bind(user, "crowetrade-killswitches-rearmer")
    client.bind(CAROL, "crowetrade-killswitches-engager", "")
    client.bind(BOB, "crowetrade-risklimits-editor")
    for user in (BOB, DAVE):
        client.bind(user, "crowetrade-venueconnections-editor")
    client.bind(NAMESPACE_CONTROLLER, "cluster-admin")
    _wait_for_policies(client)
    yield client
    for item in installed:
        client.send("DELETE", f"{PATHS[item['kind']]}/{item['metadata']['name']}")
    client.close()


async def _with_crds(api_server: ApiServer) -> None:
    cluster = await connect(str(api_server.kubeconfig))
    try:
        await install_crds(cluster)
    finally:
        await cluster.close()


def _wait_for_policies(client: Server) -> None:
    """The API server obeys a policy a moment after it has taken it."""
    wrong = change(limit_manifest(namespace=DESK), "metadata.annotations", {CLEAR_BREACH_ANNOTATION: "x"})
    foreign = change(venue_manifest(namespace=DESK), "metadata.annotations", {CLEAR_HALT_ANNOTATION: "a/b"})
    probes = {"killswitches": kill_manifest("probe", DESK), "risklimits": wrong, "venueconnections": foreign}
    deadline = time.monotonic() + 30
    for plural, body in probes.items():
        while client.send("POST", f"{at(plural)}?dryRun=All", body)[0] != 422:
            assert time.monotonic() < deadline, f"the policy of {plural} is not obeyed"
            time.sleep(0.1)


def give(server: Server, user: str, **spec: Any) -> str:
    """Creates a KillSwitch; returns its name."""
    name = f"k{next(_names)}"
    body = kill_manifest(name, DESK)
    body["spec"] = {"reason": "test", **spec}
    code, answer = server.send("POST", at("killswitches"), body, user)
    assert code == 201, answer
    return name


def refused(answer: tuple[int, Object], *words: str) -> None:
    """By a policy that says one of these: of several that refuse, the API server names whichever was first."""
    code, body = answer
    assert code in (403, 422), body
    assert any(one in body["message"] for one in words), body["message"]


def patch(server: Server, name: str, user: str, **spec: Any) -> tuple[int, Object]:
    return server.send("PATCH", at("killswitches", name), {"spec": spec}, user)


def delete(server: Server, name: str, user: str) -> tuple[int, Object]:
    return server.send("DELETE", at("killswitches", name), None, user)


# --- engagedBy


def test_the_name_of_who_engages_is_their_own_or_none(server: Server) -> None:
    give(server, ALICE, engaged=True, engagedBy=ALICE)
    give(server, ALICE, engaged=True)
    body = kill_manifest("foreign", DESK)
    body["spec"]["engagedBy"] = BOB
    refused(server.send("POST", at("killswitches"), body, ALICE), "spec.engagedBy: write alice")


def test_a_name_of_before_is_not_taken_over_by_who_engages_again(server: Server) -> None:
    name = give(server, ALICE, engaged=False, engagedBy=ALICE)
    refused(patch(server, name, BOB, engaged=True), "spec.engagedBy: write bob")
    assert patch(server, name, BOB, engaged=True, engagedBy=BOB)[0] == 200


def test_while_engaged_the_name_stays_and_an_empty_one_takes_ones_own_alone(server: Server) -> None:
    name = give(server, ALICE, engaged=True)
    refused(patch(server, name, ALICE, engagedBy=BOB), "spec.engagedBy: write alice")
    assert patch(server, name, ALICE, engagedBy=ALICE)[0] == 200
    for user, words in ((BOB, "leave it alice"), (ALICE, "leave it alice")):
        refused(patch(server, name, user, engagedBy=user if user is BOB else ""), words)
    assert patch(server, name, BOB, reason="more words")[0] == 200


# --- re-arming


def test_another_person_with_the_right_rearms(server: Server) -> None:
    name = give(server, ALICE, engaged=True, engagedBy=ALICE)
    refused(patch(server, name, ALICE, engaged=False), "alice engaged this KillSwitch: ask another person")
    refused(patch(server, name, DAVE, engaged=False), "ask somebody with the verb rearm on killswitches")
    assert patch(server, name, BOB, engaged=False, reason="data is back")[0] == 200


def test_one_without_a_name_is_not_rearmed(server: Server) -> None:
    name = give(server, ALICE, engaged=True)
    refused(patch(server, name, BOB, engaged=False), "spec.engagedBy is empty: first whoever engaged")
    refused(delete(server, name, BOB), "spec.engagedBy is empty: first whoever engaged")
    assert patch(server, name, ALICE, engagedBy=ALICE)[0] == 200
    assert patch(server, name, BOB, engaged=False)[0] == 200


def test_a_risk_officer_does_not_rearm_their_own(server: Server) -> None:
    name = give(server, BOB, engaged=True, engagedBy=BOB)
    refused(patch(server, name, BOB, engaged=False), "bob engaged this KillSwitch")
    refused(delete(server, name, BOB), "bob engaged this KillSwitch")
    refused(patch(server, name, BOB, engaged=False, engagedBy=""), "bob engaged this KillSwitch")


def test_the_operator_never_rearms_whatever_its_rights(server: Server) -> None:
    name = give(server, ALICE, engaged=True, engagedBy=ALICE)
    spec = "the operator changes neither spec nor labels of a resource"
    refused(patch(server, name, OPERATOR, engaged=False), "the operator never re-arms", spec)
    refused(delete(server, name, OPERATOR), "the operator never re-arms", "the operator deletes none of our resources")


def test_the_operator_has_no_right_to_change_one(server: Server) -> None:
    (role,) = [item for item in of_kind(rendered(), "ClusterRole") if item["metadata"]["name"] == "crowetrade-operator"]
    verbs = {verb for rule in role["rules"] if "killswitches" in rule["resources"] for verb in rule["verbs"]}
    assert verbs == {"list", "watch", "create"}


def test_deleting_an_engaged_one_is_rearming_it(server: Server) -> None:
    name = give(server, ALICE, engaged=True, engagedBy=ALICE)
    assert delete(server, name, ALICE)[0] == 403, "who engages has no right to delete"
    assert delete(server, name, BOB)[0] == 200
    armed = give(server, ALICE, engaged=False)
    assert delete(server, armed, BOB)[0] == 200
    unnamed = give(server, ALICE, engaged=True)
    assert delete(server, unnamed, NAMESPACE_CONTROLLER)[0] == 200


# --- scope and mode


WIDE: Object = {"namespaces": {"from": "All"}}


def test_all_namespaces_need_the_right_in_all_namespaces(server: Server) -> None:
    body = kill_manifest("wide", DESK)
    body["spec"] = {"engaged": True, "reason": "test", "scope": WIDE}
    refused(server.send("POST", at("killswitches"), body, ALICE), "the right to create KillSwitches in every namespace")
    selector = change(body, "spec.scope.namespaces", {"from": "Selector", "selector": {}})
    refused(server.send("POST", at("killswitches"), selector, ALICE), "in every namespace")
    prepared = give(server, CAROL, engaged=False, scope=WIDE)
    refused(patch(server, prepared, ALICE, engaged=True), "in every namespace")
    assert patch(server, prepared, CAROL, engaged=True, engagedBy=CAROL)[0] == 200
    assert patch(server, prepared, BOB, engaged=False)[0] == 200, "re-arming needs no wide right"


def test_the_operator_makes_the_object_of_a_wide_order(server: Server) -> None:
    give(server, OPERATOR, engaged=True, scope=WIDE)


def test_the_scope_of_an_engaged_one_stays(server: Server) -> None:
    name = give(server, ALICE, engaged=True, engagedBy=ALICE)
    scope = {"strategySelector": {"matchLabels": {"desk": "fx"}}}
    refused(patch(server, name, ALICE, scope=scope), "spec.scope: cannot be changed while")
    assert patch(server, name, BOB, engaged=False)[0] == 200
    assert patch(server, name, ALICE, scope=scope)[0] == 200


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(MODES, 2)))
def test_the_mode_of_an_engaged_one_only_becomes_harder(server: Server, before: str, after: str) -> None:
    name = give(server, ALICE, engaged=True, engagedBy=ALICE, mode=before)
    answer = patch(server, name, ALICE, mode=after)
    if at_least(after, before):
        assert answer[0] == 200
    else:
        refused(answer, f"spec.mode: can only become harder than {before}")
        assert f"engage another KillSwitch with {after}, or re-arm" in answer[1]["message"]


@pytest.mark.parametrize("mode", MODES)
def test_one_that_is_engaged_and_keeps_its_mode_may_be_explained(server: Server, mode: str) -> None:
    name = give(server, ALICE, engaged=True, engagedBy=ALICE, mode=mode)
    assert patch(server, name, ALICE, reason="more words")[0] == 200


def test_one_that_is_not_engaged_may_be_changed(server: Server) -> None:
    name = give(server, ALICE, engaged=False, mode="Flatten")
    assert patch(server, name, ALICE, mode="Block", scope={"venueSelector": {"matchLabels": {"a": "b"}}})[0] == 200


# --- breaches


REASONED = {
    "one": ("maxDailyLoss/ema@sim-fx-7: the feed was wrong", True),
    "two": ("maxDailyLoss/ema@sim-fx-7: wrong: feed; maxDrawdown/-@sim-fx-9: same;", True),
    "nothing": ("", True),
    "no reason": ("maxDailyLoss/ema@sim-fx-7", False),
    "an empty reason": ("maxDailyLoss/ema@sim-fx-7:  ", False),
    "one of two without a reason": ("maxDailyLoss/ema@sim-fx-7: wrong; maxDrawdown/-@sim-fx-9", False),
    "a reason for nothing": (": because", False),
    "spaces for nothing": ("  : because", False),
}


@pytest.mark.parametrize("case", REASONED)
def test_a_breach_is_cleared_with_a_reason(server: Server, case: str) -> None:
    text, accepted = REASONED[case]
    body = limit_manifest(f"l{next(_names)}", DESK)
    path = at("risklimits")
    assert server.send("POST", path, body, BOB)[0] == 201
    annotated = {"metadata": {"annotations": {CLEAR_BREACH_ANNOTATION: text}}}
    answer = server.send("PATCH", f"{path}/{body['metadata']['name']}", annotated, BOB)
    if accepted:
        assert answer[0] == 200, answer
    else:
        refused(answer, "write a reason for each breach")


BREACH = "maxDailyLoss/ema@sim-fx-7"
NO_RIGHT, NO_REASON = "takes the verb update on risklimits", "write a reason for each breach"
# Who writes what at the VenueConnection, and the words of the refusal.
AT_THE_VENUE = {
    "a halt, by who may change the venue": (DAVE, "JournalBelowRecord@7", ""),
    "halts": (DAVE, "UnknownExecution@3,PositionDifference@3", ""),
    "a halt with a reason": (DAVE, "UnknownExecution@3: see ticket and/or desk", ""),
    "nothing": (DAVE, "", ""),
    "a breach, without the right": (DAVE, f"{BREACH}: I want to trade", NO_RIGHT),
    "a breach, without the right and a reason": (DAVE, BREACH, NO_RIGHT),
    "a breach among halts, without the right": (DAVE, f"UnknownExecution@3,{BREACH}", NO_RIGHT),
    "a breach after a halt, without the right": (DAVE, f"UnknownExecution@3; {BREACH}: fine", NO_RIGHT),
    "a breach": (BOB, f"{BREACH}: the limit is gone", ""),
    "a breach after halts": (BOB, f"A@1,B@2; {BREACH}: a, b: c; maxDrawdown/-@sim-fx-9 : same", ""),
    "a breach without a reason": (BOB, BREACH, NO_REASON),
    "a breach with an empty reason": (BOB, f"{BREACH}:  ", NO_REASON),
    "a breach among halts": (BOB, f"UnknownExecution@3,{BREACH}: fine", NO_REASON),
    "one of two without a reason": (BOB, f"{BREACH}: fine; maxDrawdown/-@sim-fx-9", NO_REASON),
}


@pytest.mark.parametrize("case", AT_THE_VENUE)
@pytest.mark.parametrize("created", [False, True], ids=["changed", "created"])
def test_who_clears_what_at_a_venue(server: Server, case: str, created: bool) -> None:
    """Whoever may change a VenueConnection lifts no limit by that."""
    user, text, words = AT_THE_VENUE[case]
    metadata = {"annotations": {CLEAR_HALT_ANNOTATION: text}}
    body, path = venue_manifest(f"v{next(_names)}", DESK), at("venueconnections")
    if created:
        answer = server.send("POST", path, change(body, "metadata.annotations", metadata["annotations"]), user)
    else:
        assert server.send("POST", path, body, user)[0] == 201
        answer = server.send("PATCH", f"{path}/{body['metadata']['name']}", {"metadata": metadata}, user)
    if words:
        refused(answer, words)
    else:
        assert answer[0] in (200, 201), answer


def test_a_breach_that_another_person_clears_at_a_venue_stands_in_nobodys_way(server: Server) -> None:
    body, path = venue_manifest(f"v{next(_names)}", DESK), at("venueconnections")
    own = f"{path}/{body['metadata']['name']}"
    cleared = change(body, "metadata.annotations", {CLEAR_HALT_ANNOTATION: f"{BREACH}: the limit is gone"})
    assert server.send("POST", path, cleared, BOB)[0] == 201
    assert server.send("PATCH", own, {"spec": {"suspend": True}}, DAVE)[0] == 200
    other = {"metadata": {"annotations": {CLEAR_HALT_ANNOTATION: f"{BREACH}: another reason"}}}
    refused(server.send("PATCH", own, other, DAVE), NO_RIGHT)
    taken_away = {"metadata": {"annotations": {CLEAR_HALT_ANNOTATION: None}}}
    assert server.send("PATCH", own, taken_away, DAVE)[0] == 200
