"""Builds our images side by side and loads them, skipping what the nodes already have.

A tag ends with a hash over the sources that go into the images, so a change gives a new tag and Kubernetes rolls what
uses it; the same sources are never built twice.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.demo.clusters import ROOT, Cluster

_PACKAGES = ("proto", "api", "process", "operator", "agents", "gateway")
_SOURCES = (
    "images",
    "requirements",
    *(f"{package}/{part}" for package in _PACKAGES for part in ("src", "pyproject.toml")),
)
_HASH_LENGTH = 12


@dataclass(frozen=True)
class Images:
    """Tag under which our images are in the cluster."""

    registry: str
    tag: str

    @property
    def operator(self) -> str:
        """Full name of the operator's image."""
        return f"{self.registry}/operator:{self.tag}"

    @property
    def agents(self) -> str:
        """Full name of the image of strategies."""
        return f"{self.registry}/agents:{self.tag}"

    @property
    def gateway(self) -> str:
        """Full name of the image of gateways and of the risk auditor."""
        return f"{self.registry}/gateway:{self.tag}"


def version() -> str:
    """Version of the packages."""
    version: str = tomllib.loads((ROOT / "operator" / "pyproject.toml").read_text())["project"]["version"]
    return version


def source_hash(root: Path = ROOT) -> str:
    """SHA-256 over path and content of every file that goes into an image."""
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = root / source
        files = [path] if path.is_file() else sorted(entry for entry in path.rglob("*") if entry.is_file())
        for file in files:
            if "__pycache__" in file.parts:
                continue
            digest.update(str(file.relative_to(root)).encode())
            digest.update(b"\0")
            digest.update(file.read_bytes())
    return digest.hexdigest()[:_HASH_LENGTH]


def names(cluster: Cluster) -> Images:
    """Names of the images of the sources as they are now."""
    return Images(cluster.registry, f"{version()}-{source_hash()}")


def ensure(cluster: Cluster, report: Callable[[str], None] = print) -> Images:
    """Builds and loads the images that the cluster's nodes lack."""
    images = names(cluster)
    provide(cluster, {"operator": images.operator, "agents": images.agents, "gateway": images.gateway}, report)
    return images


def provide(cluster: Cluster, wanted: Mapping[str, str], report: Callable[[str], None] = print) -> None:
    """Builds and loads those of these images, by the name of their Dockerfile, that the cluster's nodes lack."""
    known = _known(cluster)
    missing = {name: image for name, image in wanted.items() if image not in known}
    if not missing:
        report("images: the cluster has them already")
        return

    def load(item: tuple[str, str]) -> None:
        name, image = item
        report(f"images: building {image}")
        cluster.build(ROOT / "images" / f"{name}.Dockerfile", image)
        report(f"images: loading {image}")
        cluster.load(image)

    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        list(pool.map(load, missing.items()))


def _known(cluster: Cluster) -> set[str]:
    nodes = cluster.kubectl().list("nodes")
    return {
        name for node in nodes for image in (node["status"].get("images") or []) for name in image.get("names") or ()
    }
