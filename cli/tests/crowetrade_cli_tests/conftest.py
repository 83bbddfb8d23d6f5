"""Real servers (NATS, the API server), the command line in this process or as a user starts it, and a real browser."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from tools.browser import MISSING, chromium

from crowetrade_cli.main import main
from crowetrade_cli_tests.cluster import Cluster, install_crds
from crowetrade_cli_tests.control import ScriptedGateway
from crowetrade_cli_tests.desk import Desk, desk_of_waves
from crowetrade_operator_tests.charts import of_kind, rendered
from crowetrade_operator_tests.servers import POWERLESS_USER, ApiServer, start_api_server


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts() -> None:
    """Whatever tests before left behind, and for what is started here too: a shell's background job, as tests may be,
    ignores SIGINT, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with JetStream of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("jetstream")
    process = subprocess.Popen(
        [Path(sys.executable).parent / "nats-server", "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", folder],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("Server is ready" in line for line in process.stderr), "nats-server did not start"
    yield f"nats://127.0.0.1:{port}"
    process.terminate()
    process.communicate()


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `crowetrade` with arguments."""

    def run_command(*arguments: object) -> Ended:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Ended(left.value.code, written.out, written.err)

    return run_command


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """As desk_of_waves; what runs there is ended."""
    made = desk_of_waves(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skips where there is none. Its driver keeps an event loop running in this thread, so a
    module that uses it has no asynchronous tests."""
    program = chromium()
    if program is None:
        pytest.skip(MISSING)
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program)
        yield started
        started.close()


_numbers = itertools.count(1)
POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One with our CRDs for all tests, of no cluster that anybody else uses."""
    folder = tmp_path_factory.mktemp("apiserver")
    server, processes = start_api_server(folder)
    try:
        install_crds(server, folder)
        yield server
    finally:
        for process in processes:
            process.stop()


@pytest.fixture
def state_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command remembers what it knows; nothing of the machine's own environment counts."""
    home = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    monkeypatch.delenv("CROWETRADE_NATS", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-kubeconfig"))
    return home


@pytest.fixture
def cluster(api_server: ApiServer, state_home: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The command's own kubeconfig is that of the administrator."""
    found = Cluster(api_server, f"desk-{next(_numbers)}", api_server.kubeconfig)
    found.kubectl("create", "namespace", found.namespace)
    monkeypatch.setenv("KUBECONFIG", str(api_server.kubeconfig))
    return found


@pytest.fixture
def policies(cluster: Cluster) -> None:
    """What the chart installs about who may do what, for the namespace of this test alone."""
    for item in of_kind(rendered(), *POLICIES):
        name = f"{item['metadata']['name']}-{cluster.namespace}"
        item["metadata"]["name"] = name
        if item["kind"] == POLICIES[1]:
            own = {"kubernetes.io/metadata.name": cluster.namespace}
            item["spec"] |= {"policyName": name, "matchResources": {"namespaceSelector": {"matchLabels": own}}}
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(item))
    probe = {
        "apiVersion": "trading.crowetrade.io/v1alpha1",
        "kind": "KillSwitch",
        "metadata": {"name": "probe", "namespace": cluster.namespace},
        "spec": {"engaged": True, "reason": "drill", "engagedBy": "somebody else"},
    }
    cluster.wait_until_refused("apply", "-f", "-", stdin=json.dumps(probe))


@pytest.fixture
def second_person(cluster: Cluster) -> Path:
    """The kubeconfig of a user who may do everything in the namespace."""
    user = f"--user={POWERLESS_USER}"
    cluster.kubectl("create", "rolebinding", "second-person", "--clusterrole=cluster-admin", user)
    return cluster.server.powerless


@pytest.fixture
def gateway() -> Iterator[Callable[..., ScriptedGateway]]:
    """Starts gateways: gateway(namespace, venue, ...)."""
    started: list[ScriptedGateway] = []

    def start(*arguments: Any, **options: Any) -> ScriptedGateway:
        started.append(ScriptedGateway(*arguments, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def remembered(cluster: Cluster, state_home: Path, tmp_path: Path) -> Callable[[Run, str], Path]:
    """remembered(run, target): the command has seen the cluster, whose gateways listen at `target`. Returns a
    kubeconfig of that cluster since its API server is down."""

    def see(run: Run, target: str) -> Path:
        run("status", "-n", cluster.namespace)
        nowhere, file = "https://127.0.0.1:1", state_home / "crowetrade" / "clusters.json"
        content = json.loads(file.read_text())
        content[nowhere] = content.pop(cluster.server.url)
        ours = [one for one in content[nowhere]["gateways"] if one["address"][0] == cluster.namespace]
        content[nowhere]["gateways"] = [one | {"targets": [target]} for one in ours]
        file.write_text(json.dumps(content))
        return cluster.server.at(1, tmp_path)

    return see
