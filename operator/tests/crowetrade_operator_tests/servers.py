"""Real servers for tests: etcd, kube-apiserver and nats-server on loopback ports, each thrown away at the end."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[3]
START_SECONDS = 60.0
HINT = "run `make cluster-up` once: it builds etcd and kube-apiserver into the cache"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def program(name: str) -> Path:
    """Path of a program that tools/localcluster has built."""
    asked = subprocess.run(
        [sys.executable, "-m", "tools.localcluster", "path", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    path = Path(asked.stdout.strip())
    if asked.returncode != 0 or not path.is_file():
        raise RuntimeError(f"{name} is not there: {HINT}. {asked.stderr.strip()}")
    return path


class Process:
    """A server process whose output goes to a file."""

    def __init__(self, name: str, command: list[str | Path], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._out: IO[bytes] = self.log.open("wb")
        self._process = subprocess.Popen(command, cwd=folder, stdout=self._out, stderr=subprocess.STDOUT)

    def stop(self) -> None:
        """Ends the process."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()

    def check(self) -> None:
        """Raises with the end of the log when the process has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended:\n{self.tail()}")

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-3000:]


def _answers(url: str, context: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for(process: Process, url: str, context: ssl.SSLContext | None = None) -> None:
    """Waits until the server answers 200."""
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url, context):
        process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{process.name} did not answer {url} in {START_SECONDS:g} s:\n{process.tail()}")
        time.sleep(0.05)


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    url: str
    kubeconfig: Path
    process: Process


TOKEN = "test-admin-token"


def start_api_server(folder: Path) -> tuple[ApiServer, list[Process]]:
    """etcd and kube-apiserver with an administrator's token; RBAC is on, certificates are its own."""
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd_url, peer_url = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
    etcd = Process(
        "etcd",
        [
            program("etcd"),
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        folder,
    )
    wait_for(etcd, f"{etcd_url}/health")
    key = _service_account_key(folder)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    server = Process(
        "kube-apiserver",
        [
            program("kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder / 'certificates'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--disable-admission-plugins=ServiceAccount",
            "--watch-cache-sizes=events#0",
            "--v=1",
        ],
        folder,
    )
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"https://127.0.0.1:{port}"
    try:
        wait_for(server, f"{url}/livez?exclude=etcd", context)
        _wait_ready(server, url, context)
    except RuntimeError:
        server.stop()
        etcd.stop()
        raise
    return ApiServer(url, _kubeconfig(folder, url), server), [server, etcd]


def _wait_ready(process: Process, url: str, context: ssl.SSLContext) -> None:
    request = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    deadline = time.monotonic() + START_SECONDS
    while True:
        process.check()
        try:
            with urllib.request.urlopen(request, timeout=2, context=context):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise RuntimeError(f"kube-apiserver did not become ready:\n{process.tail()}") from None
            time.sleep(0.1)


def _service_account_key(folder: Path) -> Path:
    key = folder / "service-account.key"
    subprocess.run(
        ["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True, env={**os.environ, "RANDFILE": ""}
    )
    return key


def _kubeconfig(folder: Path, url: str) -> Path:
    authority = base64.b64encode((folder / "certificates" / "apiserver.crt").read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def start_nats(folder: Path, port: int = 0) -> tuple[str, Process]:
    """A NATS server with JetStream."""
    port = port or free_port()
    monitor = free_port()
    binary = Path(sys.executable).parent / "nats-server"
    process = Process(
        "nats-server",
        [binary, "-js", "-a", "127.0.0.1", "-p", str(port), "-m", str(monitor), "-sd", folder / "jetstream"],
        folder,
    )
    wait_for(process, f"http://127.0.0.1:{monitor}/healthz?js-enabled-only=true")
    return f"nats://127.0.0.1:{port}", process
