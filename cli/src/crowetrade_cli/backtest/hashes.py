"""What a result was computed from, as SHA-256: recordings, manifests, models, and the code of CroweTrade."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from crowetrade_agents.models.registry import find_model
from crowetrade_api.files import StrategyFile
from crowetrade_cli.manifests.admission import Manifest
from crowetrade_cli.results.result import Code, ManifestHash

_PACKAGES = ("crowetrade", "crowetrade_agents", "crowetrade_api", "crowetrade_cli", "crowetrade_process")


@cache
def of_file(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_manifest(manifest: Manifest, namespace: str) -> ManifestHash:
    """Of a manifest as JSON with sorted keys."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    metadata = manifest["metadata"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ManifestHash(manifest["kind"], metadata.get("namespace", namespace), metadata["name"], digest)


def of_code(strategies: Iterable[StrategyFile]) -> Code:
    """Of CroweTrade's own modules, and of the module of each model. A model whose source is not at hand (built in C)
    has the hash "unknown"."""
    return Code(version("crowetrade-cli"), _own_code(), {model_name(file): _of_model(file) for file in strategies})


def model_name(file: StrategyFile) -> str:
    """The built-in model's name, or the entry point."""
    return file.spec.model.name or file.spec.model.entry_point or ""


def parameters_of(file: StrategyFile) -> Mapping[str, str]:
    """The parameters of its model as text: what is no text, as JSON."""
    given = file.spec.model.parameters.items()
    return {name: value if isinstance(value, str) else json.dumps(value, sort_keys=True) for name, value in given}


@cache
def _own_code() -> str:
    digest = hashlib.sha256()
    for package in _PACKAGES:
        # What gateways and strategies share and what gateways alone have lie in folders of their own.
        folders = [Path(folder) for folder in import_module(package).__path__]
        files = {str(file.relative_to(folder)): file for folder in folders for file in folder.rglob("*.py")}
        for name, file in sorted(files.items()):
            digest.update(f"{package}/{name}\0{of_file(file)}\n".encode())
    return digest.hexdigest()


def _of_model(file: StrategyFile) -> str:
    made_by = find_model(file.spec.model.name or "", file.spec.model.entry_point or "")
    try:
        source = inspect.getsourcefile(inspect.unwrap(made_by))
    except TypeError:
        source = None
    return of_file(Path(source)) if source else "unknown"
