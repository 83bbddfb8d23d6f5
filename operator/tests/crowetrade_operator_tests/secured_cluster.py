"""Three servers of NATS as the chart makes them: its own ConfigMap and the environment of its StatefulSet, rendered.

Each server has an address of its own on the loopback, as pods have, and names lead to it as the headless Service of the
StatefulSet makes them.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crowetrade_operator.authorizer.keys import ISSUER_KEY, USER_KEY
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.secured_bus import NATS, SYSTEM, SecuredBus
from crowetrade_operator_tests.servers import Process, wait_for
from crowetrade_process.identity.name import IdentityName

SERVERS = 3
CHART = ("identity.source=Files", f"nats.replicas={SERVERS}", "nats.maxFileStore=8GB")
assert SYSTEM == SYSTEM_NAMESPACE


def _network() -> str:
    """Of the loopback (127.0.0.0/8), unlikely to be that of tests beside this one."""
    return f"127.{random.randint(2, 254)}.{random.randint(2, 254)}"


@dataclass
class SecuredCluster(SecuredBus):
    """The servers, numbered as their pods."""

    network: str = field(default_factory=_network)
    servers: dict[int, Process] = field(default_factory=dict)
    entry: int = 0
    """To which clients of the tests connect; they hear of the others when they are connected."""

    @property
    def url(self) -> str:
        """Of the entry."""
        return self.url_of(self.entry)

    def url_of(self, number: int) -> str:
        """The address of one."""
        return f"tls://{self.address_of(number)}:4222"

    def address_of(self, number: int) -> str:
        """As of its pod."""
        return f"{self.network}.{number + 1}"

    def monitor_of(self, number: int) -> str:
        """Where one tells of itself."""
        return f"http://{self.address_of(number)}:8222"

    def start(self, access: str = "") -> None:
        """Starts all and waits until JetStream works on each."""
        self.prepare()
        for number in range(SERVERS):
            self.start_server(number)
        for number in range(SERVERS):
            self.wait_ready(number)

    def prepare(self) -> None:
        """Writes what servers read when they start."""
        objects = rendered(*CHART)
        (config,) = [item for item in of_kind(objects, "ConfigMap") if item["metadata"]["name"] == "nats"]
        (stateful,) = of_kind(objects, "StatefulSet")
        (self.container,) = stateful["spec"]["template"]["spec"]["containers"]
        for name, text in config["data"].items():
            (self.folder / name).write_text(text)
        (self.folder / "resolv.conf").write_text(f"nameserver {self.network}.254\noptions timeout:1 attempts:1\n")

    def know(self, number: int, *others: int) -> None:
        """To which servers names lead for one, as the DNS of its node knows pods that have an address; may change while
        it runs."""
        names = {other: f"{NATS.dns_name} nats-{other}.{NATS.dns_name}" for other in others}
        lines = [f"{self.address_of(other)} {name}\n" for other, name in names.items()]
        # Written in place: the server has mounted this very file.
        self._hosts(number).write_text("127.0.0.1 localhost\n" + "".join(lines))

    def _hosts(self, number: int) -> Path:
        return self.folder / f"hosts-{number}"

    def start_server(self, number: int, identity: IdentityName = NATS, config: str = "nats.conf") -> None:
        """Starts one, with what it has stored and the chart's configuration, or another one of the folder. It knows all
        names unless it has been told otherwise."""
        if not self._hosts(number).exists():
            self.know(number, *range(SERVERS))
        files, address = self.directory(identity), self.address_of(number)
        given = {item["name"]: str(item["value"]) for item in self.container["env"] if "value" in item}
        environment = given | {
            "POD_NAME": f"nats-{number}",
            "STORE_DIRECTORY": str(self.folder / f"jetstream-{number}"),
            "TLS_CERT_FILE": str(files / "tls.crt"),
            "TLS_KEY_FILE": str(files / "tls.key"),
            "TLS_CA_FILE": str(files / "ca.crt"),
            "AUTHORIZER_USER": self.seeds[USER_KEY],
            "AUTHORIZER_ISSUER": self.seeds[ISSUER_KEY],
        }
        binary = str(Path(sys.executable).parent / "nats-server")
        named = _with_names(self._hosts(number), self.folder / "resolv.conf")
        # A pod has one address, and this machine has many.
        own = ["-a", address, "--cluster_listen", f"nats://{address}:6222", "--cluster_advertise", f"{address}:6222"]
        command: list[str | Path] = [*named, binary, "-c", str(self.folder / config), *own]
        self.servers[number] = Process(f"nats-{number}", command, self.folder, environment)

    def wait_ready(self, number: int) -> None:
        """The chart's own readiness probe."""
        probe = self.container["readinessProbe"]["httpGet"]["path"]
        wait_for(self.servers[number], f"{self.monitor_of(number)}{probe}")

    def routes_of(self, number: int) -> set[str]:
        """The names of the servers that this one takes as its cluster's."""
        with urllib.request.urlopen(f"{self.monitor_of(number)}/routez", timeout=5) as answer:
            return {route["remote_name"] for route in json.load(answer)["routes"]}

    def log_of(self, number: int) -> str:
        """What one has said."""
        return (self.folder / f"nats-{number}.log").read_text(errors="replace")

    def kill(self, number: int) -> None:
        """SIGKILL."""
        self.servers.pop(number).kill()

    def stop(self) -> None:
        """Ends all."""
        while self.servers:
            self.servers.popitem()[1].stop()

    def stored(self, number: int, stream: str) -> int:
        """How many messages of a stream this very server has."""
        url = f"{self.monitor_of(number)}/jsz?accounts=true&streams=true"
        with urllib.request.urlopen(url, timeout=5) as answer:
            accounts: list[dict[str, Any]] = json.load(answer).get("account_details") or []
        found = [item for account in accounts for item in account.get("stream_detail") or [] if item["name"] == stream]
        return int(found[0]["state"]["messages"]) if found else 0


def _with_names(hosts: Path, resolver: Path) -> list[str]:
    """Runs a command with this /etc/hosts and no name server that answers; nobody else sees it."""
    unprivileged = [] if os.geteuid() == 0 else ["--map-root-user"]
    mounts = f'mount --bind "{hosts}" /etc/hosts && mount --bind "{resolver}" /etc/resolv.conf'
    return ["unshare", "--mount", *unprivileged, "sh", "-c", f'{mounts} && exec "$0" "$@"']


@contextlib.contextmanager
def secured_cluster(folder: Path) -> Iterator[SecuredCluster]:
    """Servers without an authorizer; everything that is started on them ends with them."""
    cluster = SecuredCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        for replica in cluster.replicas:
            replica.process.stop()
        cluster.stop()
