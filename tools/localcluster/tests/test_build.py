from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tools.localcluster import build, host, images, paths, wheels
from tools.localcluster.build import Group
from tools.localcluster.errors import ClusterError


def _no_compiler() -> str:
    raise ClusterError("compiler called")


def test_what_is_in_the_cache_is_not_built_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "go_compiler", _no_compiler)
    build.output(build.GROUPS[0]).mkdir(parents=True)
    assert not build.build(build.GROUPS[0])
    with pytest.raises(ClusterError, match="compiler called"):
        build.build(build.GROUPS[1])


@pytest.mark.parametrize(
    "changed", [{"version": "v9.9.9"}, {"link_flags": ("-X a=b",)}, {"build_flags": ("-tags", "other")}]
)
def test_every_input_is_part_of_the_key(changed: dict[str, object]) -> None:
    group = build.by_program("vault")
    other: Group = dataclasses.replace(group, **changed)  # type: ignore[arg-type]
    assert build.key(other) != build.key(group)


def test_pinned_modules_are_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group("one", "v1", ("program",))
    folder = tmp_path / "go" / "one"
    folder.mkdir(parents=True)
    monkeypatch.setattr(paths, "SOURCE", tmp_path)
    (folder / "go.mod").write_text("module one")
    (folder / "go.sum").write_text("")
    before = build.key(group)
    assert build.key(group) == before
    (folder / "go.sum").write_text("other h1:hash")
    assert build.key(group) != before


@pytest.mark.parametrize("group", build.GROUPS, ids=lambda group: group.name)
def test_the_version_is_the_one_in_go_mod(group: Group) -> None:
    """versions.py and go.mod both name it; a change of one alone would be cached under a wrong name."""
    pins = (build.source(group) / "go.mod").read_text()
    assert f" {group.version}\n" in pins or f" {group.version} //" in pins


def test_a_program_that_is_not_built_says_how_to_build_it(cache: Path) -> None:
    with pytest.raises(ClusterError, match="localcluster build"):
        build.binary("helm")


def test_an_image_has_another_marker_when_its_program_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = images.coredns().marker
    monkeypatch.setattr(build, "key", lambda group: "other")
    assert images.coredns().marker != before


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("nats:2", "docker.io/library/nats:2"),
        ("hashicorp/vault", "docker.io/hashicorp/vault:latest"),
        ("localhost/a:1", "localhost/a:1"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
    ],
)
def test_images_are_named_as_containerd_names_them(given: str, full: str) -> None:
    assert images.full_name(given) == full


def test_a_kubectl_older_than_the_server_allows_is_not_taken(cache: Path, tmp_path: Path) -> None:
    system = tmp_path / "kubectl"
    pinned = wheels.output() / "kubectl"
    pinned.parent.mkdir(parents=True)
    pinned.touch()

    def install(version: str) -> None:
        answer = f'{{"clientVersion": {{"gitVersion": "{version}"}}}}'
        system.write_text(f"#!/bin/sh\necho '{answer}'\n")
        system.chmod(0o755)

    install("v1.32.4-dispatcher")
    assert wheels.kubectl(system) == pinned
    install("v1.33.0")
    assert wheels.kubectl(system) == system
