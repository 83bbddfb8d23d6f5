"""Source Files, as the kubelet mounts a Secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.files import MAX_BYTES, FilesSource

from .authority import TRUST_DOMAIN, Authority, identity_name, write_identity
from .identities import now

OURS, NAME = Authority(), identity_name("venue-sim")


def mount(volume: Path, number: int) -> None:
    """Another version of the Secret, by the symlink `..data`, which the kubelet replaces by one rename."""
    version = f"..version-{number}"
    write_identity(volume / version, OURS.issue_to(NAME), OURS)
    (volume / "..data_tmp").symlink_to(version)
    os.replace(volume / "..data_tmp", volume / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"..data/{name}")


async def test_a_secret_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    source = FilesSource(tmp_path, TRUST_DOMAIN, now)
    mount(tmp_path, 1)
    first = await source.issue(await source.trust())
    mount(tmp_path, 2)
    second = await source.issue(await source.trust())
    assert first.serial != second.serial
    assert first.name == second.name == NAME


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
async def test_a_file_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    source = FilesSource(tmp_path, TRUST_DOMAIN, now)
    write_identity(tmp_path, OURS.issue_to(NAME), OURS)
    (tmp_path / name).unlink()
    with pytest.raises(IdentityUnavailable, match=rf"cannot read .*/{name}: No such file or directory; is the Secret"):
        await source.issue(await source.trust())


async def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    source = FilesSource(tmp_path, TRUST_DOMAIN, now)
    write_identity(tmp_path, OURS.issue_to(NAME), OURS)
    (tmp_path / "ca.crt").write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(IdentityUnavailable, match="is larger than"):
        await source.trust()
