"""What is remembered of clusters."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightkube.models.core_v1 import PodStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.names import VENUE_LABEL
from crowetrade_api_tests.samples import change, strategy_manifest, venue_manifest
from crowetrade_cli.fleet.discovery import Fleet
from crowetrade_cli.fleet.gateways import Address, Gateway, concerned, gateways_of
from crowetrade_cli.fleet.memory import Known, Memory

CLUSTER = "https://one"
FX, OTHER = Gateway(Address("desk", "fx"), ("h:1",), {"v": "1"}, {}), Gateway(Address("other", "fx"))
SWITCH = {"metadata": {"namespace": "desk", "name": "all", "uid": "u"}, "spec": {"engaged": True, "mode": "Block"}}


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "state" / "clusters.json")


def test_what_was_learned_is_known_later_and_of_that_cluster_alone(memory: Memory, tmp_path: Path) -> None:
    memory.learn(CLUSTER, Fleet(None, [FX, OTHER], [SWITCH]), "nats://bus:4222")
    known = Memory(tmp_path / "state" / "clusters.json").of(CLUSTER)
    assert known.gateways == {FX.address: FX, OTHER.address: OTHER}
    assert known.nats == "nats://bus:4222"
    assert known.switch("desk", "all") == {
        "metadata": {"namespace": "desk", "name": "all"},
        "spec": {"mode": "Block"},
    }
    assert memory.of("https://two") == Known()


def test_a_look_at_one_namespace_forgets_nothing_of_others(memory: Memory) -> None:
    memory.learn(CLUSTER, Fleet(None, [FX, OTHER], [SWITCH]))
    memory.learn(CLUSTER, Fleet("desk", [], []))
    assert list(memory.of(CLUSTER).gateways) == [OTHER.address]
    assert memory.of(CLUSTER).switches == {}


def test_the_bus_stays_known_and_a_password_does_not(memory: Memory) -> None:
    memory.learn(CLUSTER, Fleet(None, [], []), "nats://bus:4222")
    memory.learn(CLUSTER, Fleet(None, [], []), "nats://me:secret@bus:4222")
    memory.learn(CLUSTER, Fleet(None, [], []))
    assert memory.of(CLUSTER).nats == "nats://bus:4222"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"https://one": []}', '{"https://one": {"gateways": [{}]}}', "\x00"])
def test_what_cannot_be_read_is_not_known_and_is_written_anew(memory: Memory, tmp_path: Path, text: str) -> None:
    file = tmp_path / "state" / "clusters.json"
    file.parent.mkdir()
    file.write_text(text)
    assert memory.of(CLUSTER) == Known()
    memory.learn(CLUSTER, Fleet(None, [FX], []))
    assert list(memory.of(CLUSTER).gateways) == [FX.address]


def test_where_nothing_can_be_written_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file" / "clusters.json")
    assert list(memory.learn(CLUSTER, Fleet(None, [FX], [])).gateways) == [FX.address]


def test_a_gateway_listens_at_its_pods_and_behind_its_service() -> None:
    def pod(ip: str | None, venue: str = "sim-fx", namespace: str = "desk") -> Pod:
        metadata = ObjectMeta(namespace=namespace, labels={VENUE_LABEL: venue})
        return Pod(metadata=metadata, status=PodStatus(podIP=ip))

    pods = [
        pod("10.0.0.7"),
        pod("fd00::7"),
        pod(None),
        pod("10.0.0.8", "other"),
        pod("10.0.0.9", namespace="elsewhere"),
    ]
    venue = venue_manifest("sim-fx", "desk", {"asset": "fx"})
    assert gateways_of([venue], pods, {"desk": {"team": "a"}}) == [
        Gateway(
            Address("desk", "sim-fx"),
            ("10.0.0.7:50052", "[fd00::7]:50052", "venue-sim-fx.desk.svc:50052"),
            {"asset": "fx"},
            {"team": "a"},
        )
    ]


def test_a_gateway_whose_labels_are_not_known_is_concerned() -> None:
    scope = kill_pb2.KillScope(namespaces_from="Same")
    scope.venue_selector.match_labels["v"] = "2"
    order = kill_pb2.KillOrder(namespace="desk", name="k", scope=scope)
    unknown = Gateway(Address("desk", "unknown"))
    assert [str(one.address) for one in concerned([unknown, FX, OTHER], order)] == ["desk/unknown"]


def test_a_gateway_is_concerned_by_the_namespaces_of_who_trades_there(memory: Memory) -> None:
    named = change(
        strategy_manifest("ema", "desk"), "spec.instruments.0.venueRef", {"name": "fx", "namespace": "venues"}
    )
    found = gateways_of([venue_manifest("fx", "venues")], [], {"desk": {"team": "a"}}, [named])
    assert [one.guests for one in found] == [{"desk": {"team": "a"}}]
    order = kill_pb2.KillOrder(namespace="desk", name="k", scope=kill_pb2.KillScope(namespaces_from="Same"))
    assert [str(one.address) for one in concerned(found, order)] == ["venues/fx"]
    memory.learn(CLUSTER, Fleet(None, found, []))
    assert concerned(memory.of(CLUSTER).gateways.values(), order) == found, "and that is remembered"
    elsewhere = kill_pb2.KillOrder(namespace="live", name="k", scope=kill_pb2.KillScope(namespaces_from="Same"))
    assert not concerned(found, elsewhere)


def test_a_user_of_one_namespace_knows_the_gateways_of_others_by_their_strategies() -> None:
    named = change(
        strategy_manifest("ema", "desk"), "spec.instruments.0.venueRef", {"name": "fx", "namespace": "venues"}
    )
    (found,) = gateways_of([], [], {}, [named])
    assert found.targets == ("venue-fx.venues.svc:50052",)
    assert found.venue_labels is None
