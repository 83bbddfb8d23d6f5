"""An upgrade and its rollback while strategies trade: CRDs and the operator change, the bus stays, gateways restart one
after another, agents as their strategies allow, and no order or position is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from tools.demo import images, install
from tools.demo.clusters import Cluster
from tools.demo.kubernetes import Kubectl, Object

from tests.e2e import manifests
from tests.e2e.journal import read_journal, until_position_agrees
from tests.e2e.namespaces import Namespace, of_strategy, of_venue

VENUES = ("east", "west")
AT_ONCE, WHEN_FLAT = "at-once", "when-flat"
REPORTED = timedelta(seconds=5)
"""From a moment at which a strategy was flat until its pod is replaced."""
ROUNDED = timedelta(seconds=1)
"""Times of pods are whole seconds."""
HOLDS = {"name": "ema-crossover", "parameters": {"fast": 20, "slow": 60}}
FIELD = "entanglement"
"""Of a Strategy's spec: what the next version has and this one has not."""
STRATEGY_CRD = "trading.crowetrade.io_strategies.yaml"


@pytest.mark.alone
def test_strategies_trade_through_an_upgrade_and_a_rollback(
    cluster: Cluster, kubectl: Kubectl, namespace: Namespace, tmp_path: Path
) -> None:
    east, west = (manifests.venue(name) for name in VENUES)
    at_once = manifests.strategy(AT_ONCE, "east", agents={"updatePolicy": "Immediate"})
    namespace.apply(manifests.risk_limit(), east, west, at_once, manifests.strategy(WHEN_FLAT, "west", model=HOLDS))
    namespace.until_filled(AT_ONCE)
    namespace.until_filled(WHEN_FLAT)
    now = images.names(cluster)
    following = replace(now, tag=f"{now.tag}-next")
    images.provide(cluster, {"operator": following.operator, "agents": following.agents, "gateway": following.gateway})
    bus, patient = _bus(kubectl), namespace.pod(of_strategy(WHEN_FLAT))
    assert FIELD not in _with_field(namespace)["spec"], "the CRD of this version declares it, too"
    try:
        install.release(cluster, _values(cluster, now, following), _next_chart(tmp_path))
        _until_runs(namespace, following)
        written = _with_field(namespace)
        assert written["spec"][FIELD] == "strong"
        _assert_trades_on(namespace)
        patient = _assert_stays_unless_flat(namespace, patient)
        install.rollback(cluster)
        _until_runs(namespace, now)
        _assert_trades_on(namespace)
        _assert_stays_unless_flat(namespace, patient)
        _assert_same_but_for_the_field(namespace.get("strategy", AT_ONCE), written)
    except BaseException:
        install.install(cluster)
        raise
    assert _bus(kubectl) == bus, "the bus has not restarted"
    _assert_nothing_is_lost(namespace, AT_ONCE, "east")
    _assert_nothing_is_lost(namespace, WHEN_FLAT, "west")


def _values(cluster: Cluster, now: images.Images, following: images.Images) -> dict[str, object]:
    """New images of operator, gateways and agents. The image of the bus stays, and with it the one that keeps its
    certificate: the bus of this cluster has no disk that outlives a pod."""
    return {**install.values(cluster, following), "nats": install.values(cluster, now)["nats"]}


def _next_chart(folder: Path) -> Path:
    """With another version, and a field more in the CRD of Strategies."""
    chart = shutil.copytree(install.CHART, folder / "chart")
    _edit(chart / "Chart.yaml", lambda about: about.update(version="9.9.9", appVersion="9.9.9"))
    _edit(chart / "files" / "crds" / STRATEGY_CRD, _declare_field)
    return chart


def _edit(file: Path, change: Callable[[Object], None]) -> None:
    content: Object = yaml.safe_load(file.read_text())
    change(content)
    file.write_text(yaml.safe_dump(content))


def _declare_field(crd: Object) -> None:
    (version,) = crd["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][FIELD] = {"type": "string"}


def _with_field(namespace: Namespace) -> Object:
    """The Strategy after somebody has set the field; where its CRD does not declare it, it is not stored."""
    namespace.patch("strategy", AT_ONCE, {"spec": {FIELD: "strong"}})
    return namespace.get("strategy", AT_ONCE)


def _assert_same_but_for_the_field(after: Object, before: Object) -> None:
    """What a CRD does not declare the API server does not serve. That is no change of the spec, so nothing restarts."""
    assert after["spec"] == {name: value for name, value in before["spec"].items() if name != FIELD}
    for name in ("uid", "generation", "labels", "finalizers"):
        assert after["metadata"][name] == before["metadata"][name]


def _until_runs(namespace: Namespace, wanted: images.Images) -> None:
    """Waits until the operator, gateways, and agents that need not be flat, have these images: one gateway after
    another."""
    expected = {of_venue(name): wanted.gateway for name in VENUES} | {of_strategy(AT_ONCE): wanted.agents}
    system = Namespace(install.NAMESPACE, namespace.cluster, namespace.kubectl)

    def probe() -> str | None:
        operators = {_image(pod) for pod in system.pods("app.kubernetes.io/name=crowetrade-operator")}
        if operators != {wanted.operator}:
            return f"the operator is {operators}"
        missing = [selector for selector, image in expected.items() if not _runs(namespace.pods(selector), image)]
        return f"{', '.join(missing)} do not run {wanted.tag} yet" if missing else None

    namespace.until(probe, "the images to be rolled out")
    first, second = sorted((namespace.pod(of_venue(name)) for name in VENUES), key=_created)
    assert _created(second) >= _ready_since(first), "two gateways restarted at once"
    namespace.until_trading(AT_ONCE, WHEN_FLAT)


def _runs(pods: list[Object], image: str) -> bool:
    return [_image(pod) for pod in pods] == [image] and _condition(pods[0])["status"] == "True"


def _image(pod: Object) -> str:
    image: str = pod["spec"]["containers"][0]["image"]
    return image


def _assert_trades_on(namespace: Namespace) -> None:
    for name in (AT_ONCE, WHEN_FLAT):
        namespace.until_filled(name, more_than=namespace.filled(name))


def _assert_stays_unless_flat(namespace: Namespace, before: Object) -> Object:
    """The strategy turns from long to short now and then, and what it holds may be zero for a moment."""
    pod = namespace.pod(of_strategy(WHEN_FLAT))
    if _uid(pod) != _uid(before):
        made = _created(pod)
        journal = read_journal(namespace, "west")
        assert journal.was_flat(WHEN_FLAT, made - REPORTED, made + ROUNDED), (
            "its agents have restarted while it held something"
        )
    return pod


def _assert_nothing_is_lost(namespace: Namespace, strategy: str, venue: str) -> None:
    namespace.patch("strategy", strategy, {"spec": {"suspend": True}})
    namespace.until_condition("strategy", strategy, "Trading", "False", "Suspended")
    journal = read_journal(namespace, venue)
    fills, tokens = journal.fills(strategy), [session.fencing_token for session in journal.sessions()]
    assert journal.broken_link() is None
    assert len({fill.exec_id for fill in fills}) == len(fills)
    assert len(tokens) == 3, "before the upgrade, after it, and after the rollback"
    assert tokens == sorted(set(tokens))
    until_position_agrees(namespace, strategy, journal)


def _bus(kubectl: Kubectl) -> list[tuple[str, int]]:
    pods = kubectl.list("pods", install.NAMESPACE, "app.kubernetes.io/name=nats")
    return [(_uid(pod), sum(one["restartCount"] for one in pod["status"]["containerStatuses"])) for pod in pods]


def _uid(pod: Object) -> str:
    uid: str = pod["metadata"]["uid"]
    return uid


def _condition(pod: Object) -> Object:
    conditions = pod["status"].get("conditions", [])
    return next((item for item in conditions if item["type"] == "Ready"), {"status": "Unknown"})


def _created(pod: Object) -> datetime:
    return _time(pod["metadata"]["creationTimestamp"])


def _ready_since(pod: Object) -> datetime:
    return _time(_condition(pod)["lastTransitionTime"])


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
