"""A real Vault and real Vault Agents, as processes on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools.localcluster import certificates

from crowetrade_api.files import CREDENTIALS_DIRECTORY, VAULT_AGENT_FILE, VAULT_CA_FILE
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.desired.configmap import venue_config_map, venue_content
from crowetrade_operator.desired.deployment import venue_deployment
from crowetrade_operator.desired.vault import AGENT_DIRECTORY, TOKEN_DIRECTORY
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests import vault_server
from crowetrade_operator_tests.servers import TOKEN, ApiServer, Process, free_port, program, wait_for

ROOT_TOKEN = "root"
WAIT_SECONDS = 60.0
METHOD = "vault-plugin-auth-kubernetes"
DATABASE_PLUGIN = "vault-plugin-database-redis"


class Vault:
    """A development server over TLS with a private authority, and the Kubernetes method for an API server."""

    def __init__(self, folder: Path, api: ApiServer) -> None:
        self._folder = folder
        self.port = free_port()
        self._inside = free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        self.server_name = "localhost"
        files = certificates.make(["localhost"])
        for name, text in files.items():
            (folder / name).write_text(text)
        self.authority = files["ca.crt"]
        self._api = api
        self._process: Process | None = None

    def start(self) -> None:
        """Starts it, empty, and enables what the tests use."""
        listener = self._folder / "listener.hcl"
        listener.write_text(
            f'listener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n'
            f'  tls_cert_file = "{self._folder}/tls.crt"\n  tls_key_file = "{self._folder}/tls.key"\n}}\n'
        )
        # Vault takes plugins of one folder, and none by a link that leads out of it.
        plugins = self._folder / "plugins"
        plugins.mkdir(exist_ok=True)
        for plugin in (METHOD, DATABASE_PLUGIN):
            with contextlib.suppress(RuntimeError):
                shutil.copy2(program(plugin), plugins)
        self._process = Process(
            "vault",
            [
                program("vault"),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-root-token-id={ROOT_TOKEN}",
                f"-dev-plugin-dir={plugins}",
                f"-dev-listen-address=127.0.0.1:{self._inside}",
                f"-config={listener}",
            ],
            self._folder,
        )
        wait_for(self._process, f"http://127.0.0.1:{self._inside}/v1/sys/health")
        self.run("auth", "enable", "-path=kubernetes", METHOD)
        authority = self._folder / "kubernetes.crt"
        authority.write_text(ssl.get_server_certificate(("127.0.0.1", int(self._api.url.rpartition(":")[2]))))
        self.run(
            "write",
            "auth/kubernetes/config",
            f"kubernetes_host={self._api.url}",
            f"kubernetes_ca_cert=@{authority}",
            f"token_reviewer_jwt={TOKEN}",
        )

    def stop(self) -> None:
        """Ends it; it forgets everything."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def run(self, *arguments: str, stdin: str | None = None, missing: str | None = None) -> str:
        """Vault's command line as root; `missing` is returned where there is nothing to list."""
        environment = {"VAULT_ADDR": f"http://127.0.0.1:{self._inside}", "VAULT_TOKEN": ROOT_TOKEN}
        done = subprocess.run(
            [program("vault"), *arguments],
            input=stdin,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 2 and missing is not None:
            return missing
        assert done.returncode == 0, f"vault {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def put(self, path: str, **fields: str) -> None:
        """A new version of a secret of the KV engine; values go through standard input, as in no list of processes."""
        self.run("kv", "put", f"secret/{path}", "-", stdin=json.dumps(fields))

    def allow(self, policy: str, *paths: str) -> None:
        """A policy that lets these paths be read."""
        rules = "".join(f'path "{path}" {{ capabilities = ["read"] }}\n' for path in paths)
        self.run("policy", "write", policy, "-", stdin=rules)

    def bind(self, role: str, namespace: str, account: str, ttl: str = "10m") -> None:
        """A role, with the policy of its name, for a service account."""
        self.run(
            "write",
            f"auth/kubernetes/role/{role}",
            f"bound_service_account_names={account}",
            f"bound_service_account_namespaces={namespace}",
            "audience=vault",
            f"token_policies={role}",
            f"token_ttl={ttl}",
        )

    def seal(self) -> None:
        """Seals it."""
        self.run("operator", "seal")

    def unseal(self) -> None:
        """Unseals it with the key that a development server prints."""
        assert self._process is not None
        said = self._process.log.read_text()
        key = said.partition("Unseal Key: ")[2].split()[0]
        self.run("operator", "unseal", key)

    def login(self, role: str, token: str) -> str:
        """The token that Vault gives a service account."""
        return self.run("write", "-field=token", "auth/kubernetes/login", f"role={role}", f"jwt={token}").strip()

    def answer(self, token: str, path: str) -> int:
        """The HTTP status of a read with a token."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._inside}/v1/{path}", headers={"X-Vault-Token": token})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return int(error.code)


def service_account_token(api: ApiServer, namespace: str, account: str) -> str:
    """A token for Vault alone, as the kubelet projects it; the account is made when it is not there."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    base = f"{api.url}/api/v1/namespaces"

    def create(path: str, body: Mapping[str, Any]) -> None:
        request = urllib.request.Request(f"{base}{path}", json.dumps(body).encode(), headers)
        try:
            urllib.request.urlopen(request, timeout=10, context=context).close()
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it is there already
                raise

    create("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    create(
        f"/{namespace}/serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}
    )
    return vault_server.service_account_token(api, namespace, account, seconds=3600)


class VaultAgent:
    """The sidecar of a gateway's pod: its command with its configuration, and its folders on this machine."""

    def __init__(self, folder: Path, venue: VenueConnection, settings: Settings, token: str) -> None:
        self.credentials = folder / "credentials"
        self._folders = {
            CREDENTIALS_DIRECTORY: self.credentials,
            AGENT_DIRECTORY: folder / "vault-agent",
            TOKEN_DIRECTORY: folder / "token",
        }
        for path in self._folders.values():
            path.mkdir(parents=True)
        (folder / "token" / "token").write_text(token)
        data = venue_config_map(venue, venue_content(venue), settings)["data"]
        (folder / "vault-agent" / VAULT_AGENT_FILE).write_text(
            self._here(data[VAULT_AGENT_FILE]).replace("/tmp/vault-agent.pid", str(folder / "vault-agent.pid"))
        )
        if VAULT_CA_FILE in data:
            (folder / "vault-agent" / VAULT_CA_FILE).write_text(data[VAULT_CA_FILE])
        (container,) = venue_deployment(venue, "hash", settings)["spec"]["template"]["spec"]["initContainers"]
        self._command = [self._here(word) for word in container["command"]]
        self._environment = {item["name"]: self._here(item["value"]) for item in container["env"]}
        self._environment |= {"HOME": str(folder), "PATH": f"{program('vault').parent}:{os.environ['PATH']}"}
        self.output = folder / "vault-agent.out"
        self._process: subprocess.Popen[bytes] | None = None

    def _here(self, text: str) -> str:
        for inside, path in self._folders.items():
            text = text.replace(inside, str(path))
        return text

    def start(self, **environment: str) -> None:
        """Starts it as the container would be."""
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended by itself."""
        assert self._process is not None
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends it, and what it has started."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(20)


async def until(wanted: Callable[[], bool], what: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Waits until it is so; fails with what there is instead."""
    try:
        async with asyncio.timeout(seconds):
            while not wanted():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what()}") from None
