"""Which cluster the demo uses, and how images get into it."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from tools.demo.errors import DemoError
from tools.demo.kubernetes import Kubectl
from tools.demo.shell import run, stream, succeeds
from tools.localcluster import vault, versions

ROOT = Path(__file__).resolve().parent.parent.parent
CONTEXT_VARIABLE = "CROWETRADE_KUBECONTEXT"
REGISTRY_VARIABLE = "CROWETRADE_REGISTRY"
KIND_NAME = "crowetrade"


class Cluster(ABC):
    """A place to run in."""

    name: str
    registry = "docker.io/crowetrade"
    ours = True
    """Whether nobody but the demo and the tests installs anything in it."""
    persistent = True
    """Whether the cluster has a default storage class for the bus."""

    @abstractmethod
    def up(self) -> None:
        """Starts it when it does not run."""

    @abstractmethod
    def down(self) -> None:
        """Removes it, when it is ours."""

    @abstractmethod
    def kubectl(self) -> Kubectl:
        """kubectl for it."""

    @abstractmethod
    def helm(self) -> tuple[str, ...]:
        """helm for it."""

    @abstractmethod
    def build(self, dockerfile: Path, image: str) -> None:
        """Builds an image from the repository's root."""

    @abstractmethod
    def load(self, image: str) -> None:
        """Makes an image known to the cluster's nodes."""

    def environment(self) -> dict[str, str]:
        """Environment by which a person's kubectl reaches it."""
        return {}

    def vault(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs a command of the vault command line in the cluster's Vault."""
        pod = ("exec", "-i", "-n", versions.VAULT_NAMESPACE, "deploy/vault")
        return self.kubectl()(*pod, "--", "vault", *arguments, stdin=stdin)

    def install_vault(self) -> None:
        """Installs a development Vault, the one of the local cluster, when the cluster has none."""
        kubectl, namespace = self.kubectl(), versions.VAULT_NAMESPACE
        kubectl.apply([vault.namespace()])
        if kubectl.get("secret", vault.CERTIFICATES, namespace) is None:
            kubectl.apply([vault.certificates_secret()])
        if kubectl.get("deployment", "vault", namespace) is None:
            kubectl.apply(vault.manifests())
        kubectl("rollout", "status", "-n", namespace, "deploy/vault", "--timeout=300s", timeout=310)

    def vault_authority(self) -> str:
        """Certificate of the authority that signed Vault's own, PEM."""
        found = self.kubectl().get("secret", vault.CERTIFICATES, versions.VAULT_NAMESPACE)
        if found is None:
            raise DemoError(f"there is no Secret {vault.CERTIFICATES} in namespace {versions.VAULT_NAMESPACE}")
        return base64.b64decode(found["data"]["ca.crt"]).decode()


class LocalCluster(Cluster):
    """The cluster of tools/localcluster: no Docker needed."""

    name = "local cluster"
    persistent = False

    def _tool(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tools.localcluster", *arguments]

    def up(self) -> None:
        """Builds and starts it; minutes for the first time, seconds after that."""
        stream(self._tool("up"), environment=_IMPORTS)

    def down(self) -> None:
        """Stops it and removes its state; what was built stays cached."""
        stream(self._tool("down"), environment=_IMPORTS)

    def environment(self) -> dict[str, str]:
        """KUBECONFIG of the cluster."""
        return {"KUBECONFIG": run(self._tool("kubeconfig"), environment=_IMPORTS).strip()}

    def kubectl(self) -> Kubectl:
        """The tool's kubectl with its kubeconfig."""
        binary = run(self._tool("path", "kubectl"), environment=_IMPORTS).strip()
        return Kubectl((binary,), self.environment())

    def helm(self) -> tuple[str, ...]:
        """The tool's helm with its kubeconfig."""
        binary = run(self._tool("path", "helm"), environment=_IMPORTS).strip()
        return (binary, "--kubeconfig", self.environment()["KUBECONFIG"])

    def build(self, dockerfile: Path, image: str) -> None:
        """Builds with buildah."""
        command = self._tool("image-build", "-f", str(dockerfile), "-t", image, str(ROOT))
        run(command, environment=_IMPORTS, timeout=1200)

    def load(self, image: str) -> None:
        """Imports the image into containerd."""
        run(self._tool("load", image), environment=_IMPORTS, timeout=600)

    def install_vault(self) -> None:
        """Nothing: `up` has installed it."""


class KindCluster(Cluster):
    """kind on a Docker engine. Not covered by this repository's CI."""

    name = "kind"

    def up(self) -> None:
        """Creates the cluster when there is none."""
        if shutil.which("kind") is None or shutil.which("helm") is None:
            raise DemoError(
                "a Docker engine answers but kind or helm is missing: install both "
                f"or set {CONTEXT_VARIABLE} to a cluster of yours"
            )
        if KIND_NAME not in run(["kind", "get", "clusters"]).split():
            stream(
                ["kind", "create", "cluster", "--config", str(Path(__file__).parent / "kind.yaml"), "--wait", "120s"]
            )

    def down(self) -> None:
        """Deletes the cluster."""
        stream(["kind", "delete", "cluster", "--name", KIND_NAME])

    def kubectl(self) -> Kubectl:
        """kubectl with kind's context."""
        return Kubectl(("kubectl", "--context", f"kind-{KIND_NAME}"))

    def helm(self) -> tuple[str, ...]:
        """helm with kind's context."""
        return ("helm", "--kube-context", f"kind-{KIND_NAME}")

    def build(self, dockerfile: Path, image: str) -> None:
        """Builds with Docker."""
        run(["docker", "build", "-f", str(dockerfile), "-t", image, str(ROOT)], timeout=1200)

    def load(self, image: str) -> None:
        """Copies the image onto kind's nodes."""
        run(["kind", "load", "docker-image", image, "--name", KIND_NAME], timeout=600)


class ContextCluster(Cluster):
    """A cluster that runs already. Images are built and pushed with Docker when a registry is named."""

    name = "existing cluster"
    ours = False

    def __init__(self, context: str) -> None:
        self._context = context
        self.name = f"context {context}"
        registry = os.environ.get(REGISTRY_VARIABLE, "")
        self._push = bool(registry)
        self.registry = registry or self.registry

    def up(self) -> None:
        """Checks that it answers."""
        self.kubectl()("get", "--raw", "/readyz")

    def down(self) -> None:
        """Nothing: it is not ours."""

    def kubectl(self) -> Kubectl:
        """kubectl with the context."""
        return Kubectl(("kubectl", "--context", self._context))

    def helm(self) -> tuple[str, ...]:
        """helm with the context."""
        return ("helm", "--kube-context", self._context)

    def build(self, dockerfile: Path, image: str) -> None:
        """Builds with Docker."""
        if not self._push:
            raise DemoError(
                f"the nodes of {self.name} do not have {image}: set {REGISTRY_VARIABLE} to a registry that they can "
                "pull from and you can push to (for example registry.example.com/yourname)"
            )
        run(["docker", "build", "-f", str(dockerfile), "-t", image, str(ROOT)], timeout=1200)

    def load(self, image: str) -> None:
        """Pushes the image."""
        stream(["docker", "push", image])


_IMPORTS = {"PYTHONPATH": str(ROOT)}


def choose() -> Cluster:
    """The context named in the environment, else kind where a Docker engine answers, else the local cluster."""
    context = os.environ.get(CONTEXT_VARIABLE, "")
    if context:
        return ContextCluster(context)
    if succeeds(["docker", "info"]):
        return KindCluster()
    return LocalCluster()
