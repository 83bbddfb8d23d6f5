"""A tag changes with the sources, and with nothing else."""

from __future__ import annotations

from pathlib import Path

from tools.demo.images import source_hash


def _tree(root: Path) -> Path:
    for name in ("images", "operator/src"):
        (root / name).mkdir(parents=True)
    (root / "images" / "operator.Dockerfile").write_text("FROM scratch\n")
    (root / "operator" / "src" / "main.py").write_text("print()\n")
    return root


def test_the_tag_follows_the_sources(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    before = source_hash(root)
    (root / "operator" / "src" / "__pycache__").mkdir()
    (root / "operator" / "src" / "__pycache__" / "main.pyc").write_bytes(b"1")
    (root / "README.md").write_text("words")
    assert source_hash(root) == before
    (root / "operator" / "src" / "main.py").write_text("print(1)\n")
    assert source_hash(root) != before
