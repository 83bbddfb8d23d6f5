"""Real Vault Agents as processes on this machine, and the accounts by which they log in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crowetrade_api.files import CREDENTIALS_DIRECTORY, VAULT_AGENT_FILE, VAULT_CA_FILE
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.desired.configmap import venue_config_map, venue_content
from crowetrade_operator.desired.deployment import venue_deployment
from crowetrade_operator.desired.vault import AGENT_DIRECTORY, TOKEN_DIRECTORY
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests import vault_server
from crowetrade_operator_tests.servers import TOKEN, ApiServer, program

WAIT_SECONDS = 60.0


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
