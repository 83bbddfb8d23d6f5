"""When manifests on the disk are taken to have changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from crowetrade_api_tests.samples import strategy_manifest
from crowetrade_cli.local.sources import PATIENCE_LOOKS, Sources

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


@pytest.mark.parametrize("name", ["run.jsonl", "notes.txt", ".crowetrade/run.log"])
def test_what_is_no_manifest_is_no_change_and_holds_none_up(tmp_path: Path, name: str) -> None:
    file, other = tmp_path / "strategy.yaml", tmp_path / name
    file.write_text(TEXT)
    sources = Sources([str(tmp_path)], "desk")
    sources.read()

    def grow() -> bool:
        other.parent.mkdir(exist_ok=True)
        with other.open("a") as written:
            written.write("{}\n")
        return sources.changed()

    assert not any(grow() for _ in range(2 * PATIENCE_LOOKS))
    file.write_text(TEXT + "# changed\n")
    assert [grow(), grow()] == [False, True]


def test_a_manifest_that_never_rests_holds_another_one_up_only_so_long_and_is_read_itself(tmp_path: Path) -> None:
    file, other = tmp_path / "strategy.yaml", tmp_path / "restless.yaml"
    for one in (file, other):
        one.write_text(TEXT)
    sources = Sources([str(tmp_path)], "desk")
    sources.read()

    def grow() -> bool:
        with other.open("a") as written:
            written.write("# more\n")
        return sources.changed()

    file.write_text(TEXT + "# changed\n")
    assert [grow() for _ in range(PATIENCE_LOOKS)] == [False] * (PATIENCE_LOOKS - 1) + [True]
    sources.read()
    assert [grow() for _ in range(PATIENCE_LOOKS)] == [False] * (PATIENCE_LOOKS - 1) + [True]
    file.write_text(TEXT + "# changed again\n")
    assert [grow(), grow()] == [False, True]
