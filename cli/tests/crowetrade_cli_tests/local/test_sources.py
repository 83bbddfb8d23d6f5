"""When manifests on the disk are taken to have changed."""

from __future__ import annotations

from pathlib import Path

import yaml

from crowetrade_api_tests.samples import strategy_manifest
from crowetrade_cli.local.sources import Sources

TEXT = yaml.safe_dump(strategy_manifest())


def test_a_change_is_taken_up_when_nothing_has_changed_since_the_look_before(tmp_path: Path) -> None:
    file = tmp_path / "strategy.yaml"
    file.write_text(TEXT)
    sources = Sources([str(tmp_path)], "desk")
    sources.read()
    assert not sources.changed()
    file.write_text(TEXT + "# changed\n")
    assert not sources.changed()
    assert sources.changed()
    sources.read()
    assert not sources.changed()


def test_a_file_that_an_editor_empties_before_it_writes_it_is_not_taken_up_empty(tmp_path: Path) -> None:
    file = tmp_path / "strategy.yaml"
    file.write_text(TEXT)
    sources = Sources([str(tmp_path)], "desk")
    sources.read()
    file.write_text("")
    assert not sources.changed()
    file.write_text(TEXT + "# changed\n")
    assert not sources.changed()
    assert sources.changed()


def test_a_file_that_an_editor_replaces_is_not_taken_up_as_gone(tmp_path: Path) -> None:
    file = tmp_path / "strategy.yaml"
    file.write_text(TEXT)
    sources = Sources([str(tmp_path)], "desk")
    sources.read()
    file.unlink()
    assert not sources.changed()
    file.write_text(TEXT + "# changed\n")
    assert not sources.changed()
    assert sources.changed()
