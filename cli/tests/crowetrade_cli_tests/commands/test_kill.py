"""`crowetrade kill` against a real API server, a real bus and control services."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import KeyValueConfig

from crowetrade import subjects
from crowetrade.config.v1 import kill_pb2
from crowetrade_api_tests.samples import venue_manifest
from crowetrade_cli_tests.cluster import Cluster
from crowetrade_cli_tests.conftest import Run
from crowetrade_cli_tests.control import ScriptedGateway
from crowetrade_operator_tests.servers import Wire

StartGateway = Callable[..., ScriptedGateway]
pytestmark = pytest.mark.integration


def lines(out: str) -> list[dict[str, Any]]:
    """Of --json."""
    return [json.loads(line) for line in out.splitlines()]


def result(out: str) -> dict[str, Any]:
    found = lines(out)[-1]["result"]
    assert isinstance(found, dict)
    return found


def ways(out: str) -> dict[str, tuple[str, str]]:
    """The last word of each way."""
    said = [line["way"] for line in lines(out) if "way" in line]
    return {way["name"]: (way["outcome"], way["message"]) for way in said}


def test_all_ways_at_once(
    cluster: Cluster, gateway: StartGateway, nats_url: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that is busy may take longer; who does not wait for the API server is another test.
    monkeypatch.setattr("crowetrade_cli.fleet.kill.HEAD_START_SECONDS", 30.0)
    cluster.apply(venue_manifest("sim-fx", cluster.namespace))
    desk = gateway(cluster.namespace, "sim-fx")
    asyncio.run(_make_bucket(nats_url))
    where = ("-n", cluster.namespace, "--nats", nats_url, "--gateway", desk.target)
    ended = run("kill", "--all", "--reason", "bad data", *where, "--json")
    assert (ended.code, ended.err) == (0, "")
    stored = cluster.get("killswitch", "all")
    assert stored["spec"] | {"scope": {}} == {
        "engaged": True,
        "engagedBy": "admin",
        "mode": "Cancel",
        "reason": "bad data",
        "scope": {},
    }
    [order] = desk.orders
    on_the_bus = asyncio.run(_on_the_bus(nats_url, cluster.namespace, "all"))
    assert order == on_the_bus
    assert (order.uid, order.generation) == (stored["metadata"]["uid"], stored["metadata"]["generation"])
    assert {name: outcome for name, (outcome, _) in ways(ended.out).items()} == {
        "API server": "Works",
        "bus": "Works",
        "direct": "Works",
    }
    # Other tests have venues in namespaces of their own.
    assert result(ended.out) | {"notStopped": []} == {
        "namespace": cluster.namespace,
        "name": "all",
        "killSwitchStored": True,
        "reached": True,
        "halted": True,
        "gateways": [f"{cluster.namespace}/sim-fx"],
        "pending": [],
        "stops": f"everything in namespace {cluster.namespace}, and in no other one",
        "notStopped": [],
        "notEngaged": "",
    }


async def _make_bucket(url: str) -> None:
    client = await nats.connect(url)
    await client.jetstream().create_key_value(KeyValueConfig(bucket=subjects.KILL_BUCKET))
    await client.close()


async def _on_the_bus(url: str, namespace: str, name: str) -> kill_pb2.KillOrder:
    client = await nats.connect(url)
    bucket = await client.jetstream().key_value(subjects.KILL_BUCKET)
    entry = await bucket.get(subjects.kill_key(namespace, name))
    await client.close()
    return kill_pb2.KillOrder.FromString(entry.value or b"")


def test_the_operators_word_is_enough(cluster: Cluster, run: Run) -> None:
    """Nothing but the API server is reached, and the operator says in the status that all have halted."""
    cluster.apply(venue_manifest("sim-fx", cluster.namespace), _switch(cluster.namespace, engaged=True))
    cluster.write_status("killswitch", "fx", {"observedGeneration": 1, "state": "Halted"})
    ended = run("kill", "fx", "--reason", "again", "-n", cluster.namespace, "--plain")
    assert (ended.code, ended.err) == (0, "")
    assert f"API server: KillSwitch {cluster.namespace}/fx was engaged already by alice: drill" in ended.out
    assert f"gateway {cluster.namespace}/sim-fx: Halted (by API server)" in ended.out


def _switch(namespace: str, engaged: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {"mode": "Block", "scope": {"strategySelector": {"matchLabels": {"desk": "fx"}}}}
    if engaged:
        spec |= {"engaged": True, "reason": "drill", "engagedBy": "alice"}
    return {
        "apiVersion": "trading.crowetrade.io/v1alpha1",
        "kind": "KillSwitch",
        "metadata": {"name": "fx", "namespace": namespace},
        "spec": spec,
    }


def test_a_killswitch_that_is_there_keeps_its_scope_and_mode(cluster: Cluster, gateway: StartGateway, run: Run) -> None:
    cluster.apply(_switch(cluster.namespace, engaged=False))
    desk = gateway(cluster.namespace, "sim-fx")
    ended = run("kill", "fx", "--reason", "r", "-n", cluster.namespace, "--gateway", desk.target, "--plain")
    assert (ended.code, ended.err) == (0, "")
    assert desk.orders[0].mode == kill_pb2.KILL_MODE_BLOCK
    assert dict(desk.orders[0].scope.strategy_selector.match_labels) == {"desk": "fx"}
    assert cluster.get("killswitch", "fx")["spec"]["engagedBy"] == "admin"


def _prepared(namespace: str, scope: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """The KillSwitch of --all."""
    return {
        "apiVersion": "trading.crowetrade.io/v1alpha1",
        "kind": "KillSwitch",
        "metadata": {"name": "all", "namespace": namespace},
        "spec": {"mode": "Flatten", "scope": scope, **spec},
    }


EVERYWHERE = {"namespaces": {"from": "All"}}
FX_EVERYWHERE = {"strategySelector": {"matchLabels": {"desk": "fx"}}, **EVERYWHERE}


@pytest.mark.parametrize("arguments", [("--all",), ("all", "-l", "desk=fx")], ids=" ".join)
def test_a_killswitch_that_is_there_is_never_made_narrower(
    cluster: Cluster, gateway: StartGateway, run: Run, arguments: tuple[str, ...]
) -> None:
    cluster.apply(_prepared(cluster.namespace, EVERYWHERE))
    desk = gateway(cluster.namespace, "sim-fx")
    ended = run("kill", *arguments, "--reason", "r", "-n", cluster.namespace, "--gateway", desk.target, "--json")
    [order] = desk.orders
    assert (order.name, order.scope.namespaces_from, order.mode) == ("all", "All", kill_pb2.KILL_MODE_FLATTEN)
    assert not order.scope.strategy_selector.match_labels
    spec = cluster.get("killswitch", "all")["spec"]
    assert (spec["engaged"], spec["scope"]["namespaces"]["from"]) == (True, "All")
    assert result(ended.out)["stops"] == "everything in every namespace"


def test_a_killswitch_that_is_there_gets_wider(cluster: Cluster, gateway: StartGateway, run: Run) -> None:
    cluster.apply(_switch(cluster.namespace, engaged=False))
    desk = gateway(cluster.namespace, "sim-fx")
    where = ("-n", cluster.namespace, "--gateway", desk.target, "--timeout", "0.1")
    run("kill", "fx", "--all", "-A", "--reason", "r", *where)
    [switch] = cluster.list("killswitches")
    assert switch["spec"]["scope"] == {
        "namespaces": {"from": "All", "selector": {}},
        "strategySelector": {},
        "venueSelector": {},
    }
    assert desk.orders[0].scope.namespaces_from == "All"


def test_where_neither_scope_holds_the_other_what_is_asked_for_is_stopped_and_the_rest_is_named(
    cluster: Cluster, gateway: StartGateway, run: Run
) -> None:
    cluster.apply(_prepared(cluster.namespace, FX_EVERYWHERE))
    desk = gateway(cluster.namespace, "sim-fx")
    ended = run("kill", "--all", "--reason", "r", "-n", cluster.namespace, "--gateway", desk.target, "--plain")
    [order] = desk.orders
    assert order.name.startswith("all-")
    assert (order.scope.namespaces_from, order.mode) == ("Same", kill_pb2.KILL_MODE_FLATTEN)
    assert cluster.get("killswitch", order.name)["spec"]["engaged"] is True
    assert cluster.get("killswitch", "all")["spec"]["engaged"] is False
    path, command = f"KillSwitch {cluster.namespace}/all", f"crowetrade kill all -n {cluster.namespace} --reason ..."
    assert (ended.code, ended.err) == (
        1,
        f"Error: {path} is not engaged, which is prepared for strategies with desk=fx in every namespace: "
        f"{command} engages it\n",
    )
    assert f"The order stops everything in namespace {cluster.namespace}, and in no other one" in ended.out


def test_one_that_is_engaged_for_fewer_stays_and_another_one_is_engaged_beside_it(
    cluster: Cluster, gateway: StartGateway, run: Run
) -> None:
    cluster.apply(_prepared(cluster.namespace, FX_EVERYWHERE, engaged=True, reason="drill"))
    desk = gateway(cluster.namespace, "sim-fx")
    ended = run("kill", "--all", "--reason", "r", "-n", cluster.namespace, "--gateway", desk.target, "--plain")
    assert (ended.code, ended.err) == (0, "")
    [order] = desk.orders
    assert order.name.startswith("all-")
    assert (order.scope.namespaces_from, order.mode) == ("Same", kill_pb2.KILL_MODE_FLATTEN)
    spec = cluster.get("killswitch", "all")["spec"]
    assert (spec["engaged"], spec["reason"], spec["scope"]["namespaces"]["from"]) == (True, "drill", "All")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((), True), (("-A",), False), (("-l", "desk=fx"), False)],
    ids=("all", "all -A", "selector"),
)
def test_gateways_of_other_namespaces_that_trade_on_are_named(
    cluster: Cluster, gateway: StartGateway, run: Run, arguments: tuple[str, ...], named: bool
) -> None:
    """Of an order for everything: one with a selector says whom it selects."""
    other = replace(cluster, namespace=f"{cluster.namespace}-other")
    cluster.kubectl("create", "namespace", other.namespace)
    cluster.apply(venue_manifest("sim-fx", cluster.namespace))
    other.apply(venue_manifest("sim-eq", other.namespace))
    desk = gateway(cluster.namespace, "sim-fx")
    everything = () if "-l" in arguments else ("--all",)
    where = ("-n", cluster.namespace, "--gateway", desk.target, "--timeout", "0.1")
    command = ("kill", "now", *everything, *arguments, "--reason", "r", *where)
    ended = run(*command, "--json")
    assert (f"{other.namespace}/sim-eq" in result(ended.out)["notStopped"]) is named
    assert ("Not stopped, use -A: " in run(*command, "--plain").out) is named


def test_who_may_not_engage_the_wide_one_stops_their_own_namespace(
    cluster: Cluster, policies: None, second_person: Path, gateway: StartGateway, run: Run
) -> None:
    cluster.apply(_prepared(cluster.namespace, EVERYWHERE))
    desk = gateway(cluster.namespace, "sim-fx")
    where = ("-n", cluster.namespace, "--gateway", desk.target, "--kubeconfig", second_person)
    ended = run("kill", "--all", "--reason", "r", *where, "--plain")
    [order] = desk.orders
    assert order.name.startswith("all-")
    assert (order.scope.namespaces_from, order.mode) == ("Same", kill_pb2.KILL_MODE_FLATTEN)
    assert cluster.get("killswitch", order.name)["spec"]["engaged"] is True
    spec = cluster.get("killswitch", "all")["spec"]
    assert (spec["engaged"], spec["scope"]["namespaces"]["from"]) == (False, "All")
    assert ended.code == 1
    assert "all is not engaged, which is prepared for everything in every namespace" in ended.err


@pytest.mark.parametrize(("mode", "stored"), [("Flatten", "Flatten"), ("Block", "Cancel")])
def test_one_that_is_engaged_gets_harder_and_never_milder(cluster: Cluster, run: Run, mode: str, stored: str) -> None:
    command = ("kill", "--all", "-n", cluster.namespace, "--plain", "--timeout", "0.1")
    run(*command, "--reason", "first")
    run(*command, "--reason", "second", "--mode", mode)
    [switch] = cluster.list("killswitches")
    assert (switch["spec"]["mode"], switch["spec"]["reason"]) == (stored, "first")


def test_a_mode_that_is_neither_harder_nor_milder_is_engaged_beside_it(cluster: Cluster, run: Run) -> None:
    cluster.apply(_switch(cluster.namespace, engaged=True))
    run("kill", "fx", "--all", "-n", cluster.namespace, "--plain", "--reason", "second", "--mode", "CloseOnly")
    first, second = sorted(cluster.list("killswitches"), key=lambda item: str(item["metadata"]["name"]))
    assert (first["metadata"]["name"], first["spec"]["mode"], first["spec"]["reason"]) == ("fx", "Block", "drill")
    assert second["metadata"]["name"].startswith("fx-")
    assert (second["spec"]["mode"], second["spec"]["engaged"]) == ("CloseOnly", True)


def test_a_name_that_the_api_server_does_not_know_stops_nobody(
    cluster: Cluster, gateway: StartGateway, run: Run
) -> None:
    cluster.apply(_switch(cluster.namespace, engaged=False))
    desk = gateway(cluster.namespace, "sim-fx")
    ended = run("kill", "fz", "--reason", "r", "-n", cluster.namespace, "--gateway", desk.target)
    assert (ended.code, desk.orders) == (2, [])
    assert f"there is no KillSwitch fz in namespace {cluster.namespace} (there are: fx)" in ended.err


def test_with_the_api_server_down_gateways_are_reached_that_were_seen_before(
    cluster: Cluster, gateway: StartGateway, run: Run, remembered: Callable[[Run, str], Path]
) -> None:
    cluster.apply(venue_manifest("sim-fx", cluster.namespace), _switch(cluster.namespace, engaged=False))
    desk = gateway(cluster.namespace, "sim-fx")
    kubeconfig = remembered(run, desk.target)
    ended = run("kill", "fx", "--reason", "r", "-n", cluster.namespace, "--kubeconfig", kubeconfig, "--json")
    assert (ended.code, ended.err) == (0, "")
    [order] = desk.orders
    assert (order.uid, order.generation, order.mode) == ("", 0, kill_pb2.KILL_MODE_BLOCK)
    assert order.name.startswith("fx-")
    assert dict(order.scope.strategy_selector.match_labels) == {"desk": "fx"}
    assert result(ended.out)["killSwitchStored"] is False
    assert ways(ended.out)["API server"][0] == "Fails"
    assert cluster.get("killswitch", "fx")["spec"]["engaged"] is False


@pytest.mark.parametrize(
    ("prepared", "everywhere", "problem"),
    [(EVERYWHERE, True, ""), (FX_EVERYWHERE, False, "prepared for strategies with desk=fx in every namespace")],
    ids=("wider", "neither"),
)
def test_with_the_api_server_down_it_is_as_wide_as_it_was_prepared(
    cluster: Cluster,
    gateway: StartGateway,
    run: Run,
    remembered: Callable[[Run, str], Path],
    prepared: dict[str, Any],
    everywhere: bool,
    problem: str,
) -> None:
    cluster.apply(venue_manifest("sim-fx", cluster.namespace), _prepared(cluster.namespace, prepared))
    desk = gateway(cluster.namespace, "sim-fx")
    kubeconfig = remembered(run, desk.target)
    ended = run("kill", "--all", "--reason", "r", "-n", cluster.namespace, "--kubeconfig", kubeconfig, "--json")
    [order] = desk.orders
    assert (order.scope.namespaces_from == "All", order.mode) == (everywhere, kill_pb2.KILL_MODE_FLATTEN)
    assert (ended.code, problem in ended.err) == (1 if problem else 0, True)


def test_a_name_that_is_not_known_without_the_api_server_stops_the_namespace_and_says_so(
    state_home: Path, gateway: StartGateway, run: Run
) -> None:
    desk = gateway("desk", "sim-fx")
    ended = run("kill", "fx", "--reason", "r", "-n", "desk", "--gateway", desk.target, "--plain")
    assert (ended.code, desk.orders[0].scope.namespaces_from) == (1, "Same")
    assert ended.err == (
        "Error: KillSwitch desk/fx is not known here, nor whom it was prepared for: the order stops everything in "
        "namespace desk, and in no other one\n"
    )


def test_a_gateway_that_the_order_passes_by_is_not_said_to_have_halted(
    state_home: Path, gateway: StartGateway, run: Run
) -> None:
    """It is named by its address and is of another namespace."""
    desk = gateway("desk", "sim-fx", concerned=False)
    ended = run("kill", "--all", "--reason", "r", "--gateway", desk.target, "--plain", "--timeout", "1")
    assert ended.code == 1
    assert f"the gateway of desk/sim-fx answers at {desk.target}, and the order passes it by" in ended.err
    assert "nothing is stopped there; -n desk or -A stops it" in ended.err
    assert "Halted" not in ended.out


async def test_a_silent_api_server_is_not_waited_for(
    cluster: Cluster, gateway: StartGateway, run: Run, tmp_path: Path
) -> None:
    """It takes connections and says nothing: the order goes out under a name of its own, and under that name it is
    stored there once it answers."""
    desk, wire = gateway(cluster.namespace, "sim-fx"), Wire(int(cluster.server.url.rpartition(":")[2]))
    await wire.mend()
    wire.fall_silent()
    kubeconfig = cluster.server.at(wire.port, tmp_path)
    where = ("-n", cluster.namespace, "--kubeconfig", kubeconfig, "--gateway", desk.target)
    command = asyncio.create_task(asyncio.to_thread(run, "kill", "--all", "--reason", "r", *where, "--plain"))
    while not desk.orders:
        await asyncio.sleep(0.01)
    assert not command.done()
    await wire.mend()
    ended = await command
    await wire.cut()
    assert (ended.code, ended.err) == (0, "")
    name = desk.orders[0].name
    assert name.startswith("all-")
    assert f"API server: KillSwitch {cluster.namespace}/{name} is created and engaged (by admin)" in ended.out
    assert ended.out.endswith(f"re-arms it: crowetrade rearm {name} -n {cluster.namespace} --reason ...\n")
    assert [item["metadata"]["name"] for item in cluster.list("killswitches")] == [name]


def test_without_any_kubeconfig_the_order_says_how_it_is_rearmed(
    state_home: Path, gateway: StartGateway, run: Run
) -> None:
    desk = gateway("desk", "sim-fx")
    ended = run("kill", "--all", "--reason", "r", "--gateway", desk.target, "--plain")
    name = desk.orders[0].name
    assert ended.code == 0
    assert "API server: not tried, there is no kubeconfig" in ended.out
    assert "bus: not tried, its address is not known: name it with --nats or CROWETRADE_NATS" in ended.out
    assert "gateway desk/sim-fx: Halted (by direct; 1 of 1 cancels confirmed; in 7 ms)" in ended.out
    assert ended.out.endswith(f"re-arms it: crowetrade rearm {name} -n default --reason ...\n")


def test_two_orders_without_the_api_server_have_two_names(state_home: Path, gateway: StartGateway, run: Run) -> None:
    desk = gateway("desk", "sim-fx")
    for _ in range(2):
        run("kill", "--all", "--reason", "r", "--gateway", desk.target, "--plain")
    assert len({order.name for order in desk.orders}) == 2


def test_a_gateway_that_does_not_halt_is_named_with_what_is_open(
    state_home: Path, gateway: StartGateway, run: Run
) -> None:
    done, slow = gateway("desk", "sim-fx"), gateway("desk", "sim-b", still_open=["c-7", "c-8"])
    targets = ("--gateway", done.target, "--gateway", slow.target)
    ended = run("kill", "--all", "--reason", "r", *targets, "--plain", "--timeout", "1")
    assert ended.code == 1
    assert "gateway desk/sim-b: Blocked (by direct; 0 of 1 cancels confirmed; open: c-7, c-8)" in ended.out
    assert ended.err == (
        "Error: 1 of 2 gateways have not said in 1 s that they have halted: desk/sim-b (2 orders are open). "
        "What is engaged stays engaged\n"
    )


def test_a_gateway_that_has_not_closed_everything_is_named_with_what_it_holds(
    state_home: Path, gateway: StartGateway, run: Run
) -> None:
    dust = kill_pb2.OpenPosition(strategy="ema", symbol="EUR-USD", quantity="400", reason="InvalidQuantity", text="t")
    desk = gateway("desk", "sim-fx", positions=[dust])
    command = ("kill", "--all", "--mode", "Flatten", "--reason", "r", "--gateway", desk.target, "--timeout", "1")
    ended = run(*command, "--plain")
    assert ended.code == 1
    assert "holds 400 EUR-USD of ema (InvalidQuantity)" in ended.out
    assert "desk/sim-fx (1 positions are open: 400 EUR-USD of ema (InvalidQuantity))" in ended.err


def test_a_gateway_that_nobody_answers_for_is_named(state_home: Path, run: Run) -> None:
    ended = run("kill", "--all", "--reason", "r", "--gateway", "127.0.0.1:1", "--plain", "--timeout", "1")
    assert ended.code == 1
    assert "direct: nobody answers at 127.0.0.1:1)" in ended.err


async def test_a_timeout_that_is_short_keeps_no_order_back(
    cluster: Cluster, gateway: StartGateway, run: Run, tmp_path: Path
) -> None:
    """The API server says nothing for longer than that."""
    desk, wire = gateway(cluster.namespace, "sim-fx"), Wire(int(cluster.server.url.rpartition(":")[2]))
    await wire.mend()
    wire.fall_silent()
    where = ("-n", cluster.namespace, "--kubeconfig", cluster.server.at(wire.port, tmp_path), "--gateway", desk.target)
    ended = await asyncio.to_thread(run, "kill", "--all", "--reason", "r", *where, "--plain", "--timeout", "0.1")
    await wire.cut()
    assert len(desk.orders) == 1
    assert f"crowetrade rearm {desk.orders[0].name} -n" in ended.out


def test_nobody_to_stop_is_a_failure(cluster: Cluster, run: Run) -> None:
    ended = run("kill", "--all", "--reason", "r", "--plain", "-n", cluster.namespace)
    assert (ended.code, "no gateway is known that it concerns" in ended.err) == (1, True)
    assert cluster.get("killswitch", "all")["spec"]["engaged"] is True


def test_an_order_that_reaches_nobody_says_so_and_promises_nothing(state_home: Path, run: Run) -> None:
    ended = run("kill", "--all", "--reason", "r", "--plain")
    assert ended.code == 1
    assert ended.err.startswith("Error: the order has reached nobody (API server: there is no kubeconfig at ")
    assert "rearm" not in ended.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name the KillSwitch, or stop everything with --all"),
        (("--all", "-l", "desk=fx"), "--all stops everything"),
        (("fx", "-A"), "--all-namespaces says where, and not whom"),
        (("fx", "-l", "desk"), '--selector "desk" is no KEY=VALUE, such as desk=fx'),
        (("fx", "--gateway", "here"), '--gateway "here" is no HOST:PORT'),
        (("FX",), "metadata.name must be at most 40 characters"),
        (("fx", "--plain", "--json"), "--plain and --json exclude each other"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, tuple) else "",
)
def test_wrong_use(state_home: Path, run: Run, arguments: tuple[str, ...], sentence: str) -> None:
    ended = run("kill", *arguments, "--reason", "r")
    assert (ended.code, sentence in ended.err) == (2, True), ended.err


def test_a_reason_is_needed(state_home: Path, run: Run) -> None:
    assert run("kill", "--all").code == 2
    assert "say why it is engaged" in run("kill", "--all", "--reason", "").err
