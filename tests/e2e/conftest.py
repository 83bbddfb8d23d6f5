"""A cluster with CroweTrade for the session, a namespace for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial

import pytest
from tools.demo import install
from tools.demo.clusters import Cluster, choose
from tools.demo.errors import DemoError
from tools.demo.kubernetes import Kubectl
from tools.demo.wait import wait_for

from tests.e2e import turns
from tests.e2e.namespaces import LABELS, Namespace, manifest

GONE_SECONDS = 180.0
_OURS = "strategies,venueconnections,risklimits,killswitches"
_FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs a cluster."""
    for item in items:
        if "tests/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Remembers a failure for the fixtures' teardown."""
    report = yield
    if report is not None and getattr(report, "failed", False):
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def cluster(left: list[str]) -> Cluster:
    """The demo's cluster with CroweTrade installed from the sources as they are."""
    return choose()


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    """kubectl for the cluster."""
    return cluster.kubectl()


@pytest.fixture(scope="session")
def left() -> list[str]:
    """Sets the cluster up, in the first process of a run; returns the namespaces that an interrupted run has left,
    which end now."""
    with turns.first() as is_first:
        return _set_up() if is_first else []


def _set_up() -> list[str]:
    cluster = install.install().cluster
    # Where nobody else tests.
    if not cluster.ours:
        return []
    kubectl = cluster.kubectl()
    selector = ",".join(f"{key}={value}" for key, value in LABELS.items())
    found = [namespace["metadata"]["name"] for namespace in kubectl.list("namespaces", selector=selector)]
    kubectl("delete", "namespaces,persistentvolumes", "-l", selector, "--wait=false")
    return found


@pytest.fixture(scope="session")
def deleted(kubectl: Kubectl, left: list[str]) -> Iterator[list[str]]:
    """Namespaces that were deleted: they end while the next test runs, and must be gone at the end of the session."""
    names = list(left)
    yield names
    for name in names:
        wait_for(partial(_still_there, kubectl, name), GONE_SECONDS, f"namespace {name} to be gone")


@pytest.fixture(autouse=True)
def _turn(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[None]:
    with turns.turn(alone=request.node.get_closest_marker("alone") is not None):
        yield


@pytest.fixture
def namespace(
    cluster: Cluster, kubectl: Kubectl, deleted: list[str], request: pytest.FixtureRequest
) -> Iterator[Namespace]:
    """A namespace of its own for the test, deleted when it ends."""
    name = f"e2e-{secrets.token_hex(4)}"
    kubectl.apply([manifest(name)])
    yield Namespace(name, cluster, kubectl)
    if request.node.stash.get(_FAILED, False):
        _tell(kubectl, name)
    kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
    deleted.append(name)


def _still_there(kubectl: Kubectl, name: str) -> str | None:
    found = kubectl.get("namespace", name)
    if found is None:
        return None
    return "; ".join(c["message"] for c in found.get("status", {}).get("conditions", []) if c["status"] == "True")


def _tell(kubectl: Kubectl, name: str) -> None:
    """What somebody who looks at a failure wants to see."""
    for arguments in (
        ("get", _OURS, "-o", "yaml"),
        ("get", "pods", "-o", "wide"),
        ("get", "events", "--sort-by=.lastTimestamp"),
        ("logs", "-l", "app.kubernetes.io/managed-by=crowetrade-operator", "--all-containers", "--prefix", "--tail=40"),
    ):
        print(f"--- kubectl {' '.join(arguments)} -n {name}")
        try:
            print(kubectl(*arguments, "-n", name))
        except DemoError as error:
            print(error)
    print(f"--- operator in {install.NAMESPACE}")
    print(kubectl("logs", "-n", install.NAMESPACE, "-l", "app.kubernetes.io/name=crowetrade-operator", "--tail=60"))
