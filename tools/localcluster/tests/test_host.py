from __future__ import annotations

import os
from pathlib import Path

import pytest

from tools.localcluster import __main__, host
from tools.localcluster.errors import ClusterError


def test_nothing_missing(tmp_path: Path) -> None:
    (tmp_path / "host-local").touch()
    assert host.missing_packages(lambda _: True, tmp_path) == []


def test_missing_commands_are_told_as_packages(tmp_path: Path) -> None:
    missing = host.missing_packages(lambda command: command not in ("containerd", "ctr", "ip"), tmp_path)
    assert missing == ["containerd", "containernetworking-plugins", "iproute2"]
    assert host.missing_sentence(missing).endswith(
        "run: apt-get install --no-install-recommends containerd containernetworking-plugins iproute2"
    )


def test_a_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "missing_packages", lambda: ["runc"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="--no-install-recommends runc"):
        host.ensure_packages()


@pytest.mark.parametrize("command", ["up", "down", "status", "build"])
def test_without_root_one_sentence_says_what_to_do(
    command: str, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert __main__.main([command]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "sudo -E" in said


def test_the_kubeconfig_of_no_cluster(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["kubeconfig"]) == 1
    assert "python -m tools.localcluster up" in capsys.readouterr().err
