"""Which of the documents are ours, and which one counts where two are of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from crowetrade_api.names import API_VERSION, GROUP
from crowetrade_cli.errors import Failed
from crowetrade_cli.manifests.admission import KINDS, Manifest
from crowetrade_cli.manifests.yaml_text import Document

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_OURS = f"{', '.join(KINDS[:-1])} and {KINDS[-1]} of {API_VERSION}"


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest of one of our kinds, not yet judged, and where it stands: file, document and line."""

    manifest: Manifest
    place: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Manifests in the order of their files, and a sentence for each document that was left out."""

    manifests: tuple[Found, ...]
    notes: tuple[str, ...]
    # metadata.labels of namespaces whose manifest is among them.
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def select(files: Iterable[tuple[str, list[Document]]], namespace: str) -> Reading:
    """The documents that are ours, and the labels of namespaces. A later one replaces an earlier one of the same kind,
    namespace and name."""
    notes: list[str] = []
    by_key: dict[Any, Found] = {}
    namespaces: dict[str, Mapping[str, str]] = {}
    for found in _objects(files):
        kind, api_version = found.manifest["kind"], found.manifest["apiVersion"]
        if api_version == API_VERSION and kind in KINDS:
            key = _key(found, namespace)
            if earlier := by_key.pop(key, None):
                notes.append(f"{found.place}: {kind} {key[2]} replaces the one of {earlier.place}")
            by_key[key] = found
        elif api_version.rpartition("/")[0] == GROUP or kind in KINDS:
            raise Failed(
                f'{found.place}: no matches for kind "{kind}" in version "{api_version}": the kinds are {_OURS}'
            )
        elif (api_version, kind) == ("v1", "Namespace"):
            labels = metadata_of(found.manifest, "labels")
            texts = labels.items() if isinstance(labels, dict) else ()
            namespaces[str(metadata_of(found.manifest, "name"))] = {str(key): str(value) for key, value in texts}
        else:
            notes.append(f"{found.place}: {_named(found.manifest)} is skipped: only {_OURS} matter here")
    return Reading(tuple(by_key.values()), tuple(notes), namespaces)


def skipped_kustomization(file: str) -> str:
    """What is said of a kustomization: it is an order to kubectl."""
    folder = file.rpartition("/")[0] or "."
    return f"{file}: skipped: what it builds is read from kubectl kustomize {folder} | crowetrade ... -"


def _objects(files: Iterable[tuple[str, list[Document]]]) -> Iterator[Found]:
    for file, documents in files:
        for document in documents:
            place = f"{file}, line {document.line}"
            if document.number > 1 or len(documents) > 1:
                place = f"{file}, document {document.number} (line {document.line})"
            yield from _flat(document.value, place)


def _flat(value: Any, place: str) -> Iterator[Found]:
    """The object, or the objects of a List."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise Failed(f"{place}: a manifest is an object with apiVersion and kind, not {_shape(value)}")
    for name in ("apiVersion", "kind"):
        if not isinstance(value.get(name), str) or not value[name]:
            raise Failed(f"{place}: {name} is not set; every manifest has apiVersion and kind")
    if not value["kind"].endswith("List") or not isinstance(value.get("items"), list):
        yield Found(value, place)
        return
    inherited = {"apiVersion": value["apiVersion"], "kind": value["kind"].removesuffix("List")}
    for number, item in enumerate(value["items"], start=1):
        whole = inherited | item if isinstance(item, dict) and inherited["kind"] else item
        yield from _flat(whole, f"{place}, item {number}")


def _shape(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a single value"


def metadata_of(manifest: Manifest, name: str) -> Any:
    """A field of metadata; None where it, or metadata, is not there."""
    metadata = manifest.get("metadata")
    return metadata.get(name) if isinstance(metadata, dict) else None


def _key(found: Found, namespace: str) -> tuple[Any, ...]:
    """What apply takes for the same object; a manifest without a name is refused later, each for itself."""
    kind, name = found.manifest["kind"], metadata_of(found.manifest, "name")
    return (
        kind,
        str(metadata_of(found.manifest, "namespace") or namespace),
        name if isinstance(name, str) else found.place,
    )


def _named(manifest: Manifest) -> str:
    name = metadata_of(manifest, "name")
    return f"{manifest['kind']}{f' {name}' if isinstance(name, str) else ''} ({manifest['apiVersion']})"
