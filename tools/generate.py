"""Writes everything that is generated, or checks it: Python of the .proto files, CRDs, the chart's copies of CRDs and
alerts, docs/performance.md, docs/reference, the table of docs/security.md, the version wherever it stands, and what is
in each image.

`python -m tools.generate` writes; `python -m tools.generate --check` generates into a temporary folder and fails on any
difference, files that should not be there included.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from crowetrade_api import crd
from tools import bus_operations, generate_proto, performance, reference, sbom, version

ROOT = Path(__file__).parent.parent
PROTO_AREAS = ("bus", "config", "gateway")
CRDS = Path("crds")
CHART_CRDS = Path("charts/crowetrade/files/crds")
ALERTS = Path("monitoring/alerts")
CHART_ALERTS = Path("charts/crowetrade/files/alerts")
PROTO_OUT = Path("proto/src")


def write(root: Path) -> None:
    """Generates everything below `root` as it lies in the repository."""
    for folder in (CRDS, CHART_CRDS, CHART_ALERTS, *(PROTO_OUT / "crowetrade" / area for area in PROTO_AREAS)):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / PROTO_OUT).mkdir(parents=True, exist_ok=True)
    generate_proto.generate(root / PROTO_OUT)
    if crd.main([str(root / CRDS)]) != 0:
        raise RuntimeError("the custom resource definitions could not be generated: see the message above")
    shutil.copytree(root / CRDS, root / CHART_CRDS)
    shutil.copytree(ROOT / ALERTS, root / CHART_ALERTS)
    performance.write(root)
    bus_operations.write(root, ROOT)
    reference.write(root)
    version.write(root)
    sbom.write(root)


def differences(root: Path) -> list[str]:
    """Generated files that differ from, are missing in, or should not be in `root`."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        wanted = _content(Path(folder))
    found = _content(root)
    return sorted(str(path) for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))


def _content(root: Path) -> dict[Path, bytes]:
    folders = [
        root / CRDS,
        root / CHART_CRDS,
        root / CHART_ALERTS,
        root / sbom.FOLDER,
        root / reference.FOLDER,
        *(root / PROTO_OUT / "crowetrade" / area for area in PROTO_AREAS),
    ]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    single = [
        root / path for path in (performance.PAGE, bus_operations.PAGE, *version.STATED) if (root / path).is_file()
    ]
    return {file.relative_to(root): file.read_bytes() for file in files + single if "__pycache__" not in file.parts}


def main(arguments: list[str]) -> int:
    """Writes or checks."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on any difference")
    if not parser.parse_args(arguments).check:
        write(ROOT)
        return 0
    differing = differences(ROOT)
    for path in differing:
        print(f"differs from its source: {path}")
    if differing:
        print("run 'make generate' and commit the result")
        return 1
    print("generated files are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
