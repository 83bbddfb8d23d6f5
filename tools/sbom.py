"""Writes the software bill of materials of each image (CycloneDX 1.6) into images/sbom/: `make sbom`.

It holds the image's Python packages, ours and those of its requirements, with what each asks for, and names the base
image. The base's own packages are not listed: a scanner reads them from the built image. The same sources give the same
bytes: there is neither a time nor a random serial number in it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
FOLDER = Path("images/sbom")
# Our packages in each image, as in its Dockerfile; the last is what the image is for.
IMAGES = {
    "agents": ("proto", "api", "process", "agents"),
    "gateway": ("proto", "api", "process", "agents", "gateway"),
    "operator": ("proto", "api", "process", "operator"),
}
PYTHON = {"python_version": "3.11", "python_full_version": "3.11.0", "sys_platform": "linux"}
"""Of the images, for requirements with a marker."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A line of a requirements file: what is installed, its SHA-256 hashes, and who asks for it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]


def pinned(text: str) -> Iterator[Pinned]:
    """What `uv pip compile --generate-hashes` wrote, as far as it is for the Python of the images."""
    for block in re.split(r"\n(?=\S)", text.strip()):
        requirement = Requirement(block.partition(" \\")[0])
        if requirement.marker is not None and not requirement.marker.evaluate(PYTHON):
            continue
        comments = re.findall(r"^ +#(?: via)? +(?!via$)(\S.*)$", block, re.MULTILINE)
        (version,) = requirement.specifier
        yield Pinned(
            canonicalize_name(requirement.name),
            version.version,
            tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", block)),
            tuple(name for name in comments if not name.startswith("-r ")),
        )


def bill(image: str) -> str:
    """The bill of an image as JSON."""
    version = (ROOT / "VERSION").read_text(encoding="utf-8").strip()
    base = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", _read(f"images/{image}.Dockerfile"), re.MULTILINE)
    assert base is not None
    root = Component(name=f"crowetrade/{image}", version=version, type=ComponentType.CONTAINER, bom_ref=image)
    base_name, _, base_version = base[1].partition(":")
    operating_system = Component(name=base_name, version=base_version, type=ComponentType.CONTAINER, bom_ref=base_name)
    components: dict[str, Component] = {}
    needs: dict[str, set[str]] = {}
    for line in pinned(_read(f"requirements/{image}.txt")):
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=value) for value in line.hashes]
        components[line.name] = _library(line.name, line.version, hashes)
        for name in line.wanted_by:
            needs.setdefault(name, set()).add(line.name)
    for package in IMAGES[image]:
        project = tomllib.loads(_read(f"{package}/pyproject.toml"))["project"]
        components[project["name"]] = _library(project["name"], version, [])
        needs[project["name"]] = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    bom = Bom(components=[operating_system, *components.values()])
    bom.metadata.component = root
    bom.register_dependency(root, [operating_system, components[f"crowetrade-{image}"]])
    for name, component in components.items():
        bom.register_dependency(component, [components[need] for need in sorted(needs.get(name, ()))])
    return _without_time(JsonV1Dot6(bom).output_as_string())


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _library(name: str, version: str, hashes: list[HashType]) -> Component:
    return Component(
        name=name, version=version, bom_ref=name, hashes=hashes, purl=PackageURL("pypi", name=name, version=version)
    )


def _without_time(text: str) -> str:
    document = json.loads(text)
    del document["serialNumber"], document["metadata"]["timestamp"]
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def write(root: Path) -> None:
    """Writes the bills below `root` as they lie in the repository."""
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        (root / FOLDER / f"{image}.cdx.json").write_text(bill(image), encoding="utf-8")


if __name__ == "__main__":
    write(ROOT)
