"""A file is opened only where it really lies below its folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crowetrade_process.confined import OutsideFolder, open_confined


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    found = tmp_path / "volume"
    (found / "below").mkdir(parents=True)
    (found / "below" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    return found


@pytest.mark.parametrize("link", ["below/file", "below/../below/file"])
def test_links_inside_lead_where_they_lead(volume: Path, link: str) -> None:
    (volume / "link").symlink_to(link)
    with open_confined(volume / "link", volume) as file:
        assert file.read() == b"inside"


@pytest.mark.parametrize("target", ["../secret", "{}/secret", "/proc/self/environ"])
def test_links_that_lead_out_are_refused(volume: Path, target: str) -> None:
    (volume / "link").symlink_to(target.format(volume.parent))
    with pytest.raises(OutsideFolder, match="leads out of"):
        open_confined(volume / "link", volume)


def test_a_folder_that_is_a_link_out_is_refused(volume: Path) -> None:
    (volume / "folder").symlink_to(volume.parent)
    with pytest.raises(OutsideFolder):
        open_confined(volume / "folder" / "secret", volume)


def test_a_volume_that_is_reached_by_a_link_is_the_volume(volume: Path) -> None:
    other = volume.parent / "other"
    other.symlink_to(volume)
    with open_confined(other / "below" / "file", other) as file:
        assert file.read() == b"inside"


def test_what_is_no_file_is_refused_without_waiting(volume: Path) -> None:
    os.mkfifo(volume / "pipe")
    with pytest.raises(OutsideFolder, match="no regular file"):
        open_confined(volume / "pipe", volume)


def test_what_is_not_there_is_not_there(volume: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_confined(volume / "absent", volume)
