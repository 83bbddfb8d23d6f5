"""An API server with our CRDs, and one namespace of it, as kubectl sees it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from crowetrade_api import crd
from crowetrade_operator_tests.servers import ApiServer, program


@dataclass(frozen=True)
class Cluster:
    """The API server, and the namespace of one test."""

    server: ApiServer
    namespace: str
    kubeconfig: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """What kubectl writes; raises when it fails. What it remembers of kinds is kept for this server alone: an
        earlier one may have had the same port."""
        cache = ("--cache-dir", self.server.kubeconfig.parent / "kubectl")
        place = ("--kubeconfig", kubeconfig or self.kubeconfig, "-n", self.namespace)
        try:
            return subprocess.run(
                [program("kubectl"), *cache, *place, *arguments],
                input=stdin,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        except subprocess.CalledProcessError as error:
            error.add_note(error.stderr)
            raise

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Applies them as the administrator."""
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        found = yaml.safe_load(self.kubectl("get", kind, name, "-o", "yaml"))
        assert isinstance(found, dict)
        return found

    def list(self, kind: str) -> Sequence[dict[str, Any]]:
        """All objects of the namespace."""
        items = yaml.safe_load(self.kubectl("get", kind, "-o", "yaml"))["items"]
        assert isinstance(items, list)
        return items

    def wait_until_refused(self, *arguments: str, stdin: str) -> None:
        """Until the API server refuses what kubectl asks for (nothing is stored): a new policy takes a moment."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                self.kubectl(*arguments, "--dry-run=server", stdin=stdin)
            except subprocess.CalledProcessError:
                return
        raise AssertionError(f"{arguments} is not refused")

    def write_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
        """As the operator writes it."""
        patch = yaml.safe_dump({"status": status})
        self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "--patch", patch)


def install_crds(server: ApiServer, folder: Path) -> None:
    """Applies the CRDs from the models, and waits until the API server serves them."""
    crds = folder / "crds.yaml"
    crds.write_text("---\n".join(crd.render(model) for model in crd.KINDS))
    for arguments in (("apply",), ("wait", "--for=condition=established", "--timeout=60s")):
        command = [str(program("kubectl")), "--kubeconfig", str(server.kubeconfig), *arguments, "-f", str(crds)]
        subprocess.run(command, check=True, capture_output=True)
