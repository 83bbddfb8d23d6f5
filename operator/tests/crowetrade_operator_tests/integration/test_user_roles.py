"""What each of the chart's roles for people may do, and what Kubernetes' own view, edit and admin have by aggregation:
every question about our kinds put to an API server, against the table of docs/authority.md and docs/rbac.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.names import GROUP
from crowetrade_operator_tests.charts import of_kind, rendered
from crowetrade_operator_tests.integration.test_rearm import RBAC, Server
from crowetrade_operator_tests.servers import Process, program, start_api_server
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
Right = tuple[str, str]
"""Resource with subresource, verb."""
READ = "get list watch"
WRITE = f"{READ} create update patch delete"
ENGAGE = f"{READ} create update patch"
PLURALS = ("strategies", "venueconnections", "risklimits", "killswitches")
SEEN = dict.fromkeys((*PLURALS, *(f"{plural}/status" for plural in PLURALS)), READ)
"""Who may look sees all."""
ROLES: dict[str, dict[str, str]] = {
    "crowetrade-strategies-viewer": {"strategies": READ, "strategies/status": READ},
    "crowetrade-strategies-editor": {"strategies": WRITE, "strategies/status": "get"},
    "crowetrade-strategies-promoter": {"strategies": f"{READ} update patch promote"},
    "crowetrade-venueconnections-viewer": {"venueconnections": READ, "venueconnections/status": READ},
    "crowetrade-venueconnections-editor": {"venueconnections": WRITE, "venueconnections/status": "get"},
    "crowetrade-risklimits-viewer": {"risklimits": READ, "risklimits/status": READ},
    "crowetrade-risklimits-editor": {"risklimits": WRITE, "risklimits/status": "get"},
    "crowetrade-killswitches-viewer": {"killswitches": READ, "killswitches/status": READ},
    "crowetrade-killswitches-engager": {"killswitches": ENGAGE, "killswitches/status": "get"},
    "crowetrade-killswitches-rearmer": {"killswitches": "delete rearm"},
    "crowetrade-risk-officer": {**SEEN, "risklimits": WRITE, "killswitches": f"{ENGAGE} delete rearm"},
    "view": SEEN,
    "edit": {**SEEN, "strategies": WRITE, "killswitches": ENGAGE},
    "admin": {**SEEN, "strategies": WRITE, "venueconnections": WRITE, "killswitches": ENGAGE},
}
"""By ClusterRole and resource: its verbs. All that is not here is refused."""
VERBS = (*WRITE.split(), "deletecollection", "promote", "rearm")
QUESTIONS: set[Right] = {
    (f"{plural}{subresource}", verb)
    for plural in PLURALS
    for subresource in ("", "/status", "/scale", "/finalizers")
    for verb in VERBS
}
HERE, ELSEWHERE = "desk", "elsewhere"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A control plane of its own with the chart's roles: its controller would aggregate those of all other tests."""
    folder = tmp_path_factory.mktemp("control-plane")
    server, processes = start_api_server(folder)
    client = Server(server)
    for item in of_kind(rendered(), "ClusterRole"):
        client.make(f"{RBAC}/clusterroles", item)
    for namespace in (HERE, ELSEWHERE):
        client.make("/api/v1/namespaces", {"metadata": {"name": namespace}})
    for role in ROLES:
        client.bind(f"has-{role}", role, HERE)
    flags = ("--controllers=clusterrole-aggregation-controller", "--leader-elect=false", "--secure-port=0")
    command: list[str | Path] = [program("kube-controller-manager"), f"--kubeconfig={server.kubeconfig}", *flags]
    processes.insert(0, Process("kube-controller-manager", command, folder))
    yield client
    client.close()
    for process in processes:
        process.stop()


@pytest.fixture
async def server(installed: Server) -> Server:
    """Once every role that is made of others has the rules of all of them."""

    def aggregated() -> bool:
        roles = installed.send("GET", f"{RBAC}/clusterroles")[1]["items"]
        return all(_rules(role) == _rules(*_parts(role, roles)) for role in roles if "aggregationRule" in role)

    await until("the roles to be aggregated", aggregated)
    return installed


def _parts(role: Object, roles: list[Object]) -> list[Object]:
    selectors = [item["matchLabels"].items() for item in role["aggregationRule"]["clusterRoleSelectors"]]
    return [one for one in roles if any(wanted <= one["metadata"].get("labels", {}).items() for wanted in selectors)]


def _rules(*roles: Object) -> set[str]:
    return {str(sorted(rule.items())) for role in roles for rule in role.get("rules") or ()}


def _allowed(server: Server, user: str, namespace: str, questions: set[Right]) -> set[Right]:
    return {right for right in questions if _is_allowed(server, user, namespace, *right)}


def _is_allowed(server: Server, user: str, namespace: str, name: str, verb: str) -> bool:
    resource, _, subresource = name.partition("/")
    about = {"namespace": namespace, "group": GROUP, "resource": resource, "subresource": subresource, "verb": verb}
    spec = {"user": user, "resourceAttributes": about}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    code, answer = server.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    assert code == 201, answer
    return bool(answer["status"]["allowed"])


def test_the_table_has_every_role_that_the_chart_binds_to_nobody() -> None:
    objects = rendered()
    bound = {item["roleRef"]["name"] for item in of_kind(objects, "ClusterRoleBinding", "RoleBinding")}
    roles = {item["metadata"]["name"] for item in of_kind(objects, "ClusterRole")}
    assert roles - bound == {name for name in ROLES if name.startswith("crowetrade-")}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_allows_what_the_table_says_and_nothing_else(server: Server, role: str) -> None:
    wanted = {(resource, verb) for resource, verbs in ROLES[role].items() for verb in verbs.split()}
    assert _allowed(server, f"has-{role}", HERE, QUESTIONS) == wanted
    assert _allowed(server, f"has-{role}", ELSEWHERE, wanted) == set()


def test_who_has_no_role_may_do_nothing(server: Server) -> None:
    assert _allowed(server, "nobody", HERE, QUESTIONS) == set()


def test_roles_of_the_chart_are_about_our_kinds_alone(server: Server) -> None:
    """Aggregation has taken nothing else into the risk officer's."""
    roles = server.send("GET", f"{RBAC}/clusterroles")[1]["items"]
    ours = [role for role in roles if role["metadata"]["name"] in ROLES and "crowetrade" in role["metadata"]["name"]]
    assert {group for role in ours for rule in role["rules"] for group in rule["apiGroups"]} == {GROUP}
    assert not [rule for role in ours for rule in role["rules"] if "nonResourceURLs" in rule]
