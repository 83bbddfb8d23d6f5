from __future__ import annotations

from pathlib import Path

import pytest

from tools.localcluster import cgroups, versions


@pytest.mark.parametrize(("name", "usual"), [("cpu.shares", 1024), ("cpu.weight", 100)])
def test_pods_weigh_more_than_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, usual: int
) -> None:
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    if name == "cpu.weight":
        hierarchy = tmp_path
        (tmp_path / "cgroup.controllers").write_text("cpu memory")
    else:
        hierarchy = tmp_path / "cpu"
    own = hierarchy / versions.NAME
    own.mkdir(parents=True)
    (hierarchy / "cgroup.procs").touch()
    (own / name).write_text(str(usual))
    cgroups.create()
    assert (own / name).read_text() == str(8 * usual)
