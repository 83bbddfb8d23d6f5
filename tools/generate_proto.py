"""Generates the Python of every .proto file into a folder, with type stubs and gRPC code.

The import name comes from the path below proto/, so the package on the wire and the Python package agree.
"""

from __future__ import annotations

import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).parent.parent
PROTO = ROOT / "proto"


def generate(out: Path) -> None:
    """Writes *_pb2.py, *_pb2.pyi, *_pb2_grpc.py below `out`; raises RuntimeError when protoc refuses."""
    sources = sorted(str(path) for path in (PROTO / "crowetrade").rglob("*.proto"))
    bundled = Path(grpc_tools.__file__).parent / "_proto"
    plugin = Path(sys.executable).parent / "protoc-gen-mypy"
    arguments = [
        "protoc",
        f"-I{PROTO}",
        f"-I{bundled}",
        f"--plugin=protoc-gen-mypy={plugin}",
        f"--python_out={out}",
        f"--mypy_out={out}",
    ]
    if protoc.main([*arguments, *sources]) != 0:
        raise RuntimeError("protoc refused the .proto files: see its message above")
    services = sorted(source for source in sources if "service " in Path(source).read_text())
    plugin_grpc = Path(sys.executable).parent / "protoc-gen-mypy_grpc"
    grpc_arguments = [
        "protoc",
        f"-I{PROTO}",
        f"-I{bundled}",
        f"--plugin=protoc-gen-mypy_grpc={plugin_grpc}",
        f"--grpc_python_out={out}",
        f"--mypy_grpc_out={out}",
    ]
    if protoc.main([*grpc_arguments, *services]) != 0:
        raise RuntimeError("protoc refused the gRPC services: see its message above")
    for area in (out / "crowetrade").glob("*/v1"):
        (area / "__init__.py").touch()
        (area.parent / "__init__.py").touch()


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO / "src")
