"""Keys as they lie in the pod: whole, of one version, safely read, and never quoted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crowetrade_agents.credentials.files import MAX_BYTES, VenueKeys, read_mounted, read_rendered
from crowetrade_agents.errors import KeysUnavailable

CANARY = "canary-7f3a"
FIELDS = {"apiKey": "api-key", "tlsKey": "client.pem"}
PEM = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"
GOOD = {"version": "3", "keys": {"apiKey": "a", "tlsKey": PEM}}


def write(folder: Path, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "credentials.json").write_text(text)


def test_all_keys_of_a_version_are_read_together_and_several_lines_stay(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert read_rendered(tmp_path, FIELDS) == VenueKeys("3", {"apiKey": "a", "tlsKey": PEM})


def test_what_is_read_shows_no_key() -> None:
    assert CANARY not in repr(VenueKeys("3", {"apiKey": CANARY}))


def linked(folder: Path) -> None:
    """The finding: a link to a file of the pod, whose first line a message showed."""
    (folder.parent / "secret").write_text(f"{CANARY}\nsecond")
    (folder / "credentials.json").symlink_to(folder.parent / "secret")


UNUSABLE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "nothing": (lambda it: None, "WaitingForCredentials", "there is no "),
    "half a file": (
        lambda it: write(it, json.dumps(GOOD)[:-9]),
        "CredentialsUnreadable",
        "not what Vault Agent renders",
    ),
    "no JSON": (lambda it: write(it, CANARY), "CredentialsUnreadable", "not what Vault Agent renders"),
    "a number for a key": (
        lambda it: write(it, {"version": "3", "keys": {"apiKey": 7, "tlsKey": CANARY}}),
        "CredentialsUnreadable",
        "not what Vault Agent renders",
    ),
    "another shape": (lambda it: write(it, [CANARY]), "CredentialsUnreadable", "not what Vault Agent renders"),
    "a field that the secret lacks": (
        lambda it: write(it, {"version": "3", "keys": {"apiKey": CANARY, "tlsKey": None}}),
        "CredentialsIncomplete",
        "version 3 of the secret has no field client.pem",
    ),
    "an empty field": (
        lambda it: write(it, {"version": "3", "keys": {"apiKey": "", "tlsKey": CANARY}}),
        "CredentialsIncomplete",
        "has no field api-key, or it is empty",
    ),
    "too much": (lambda it: write(it, CANARY * MAX_BYTES), "CredentialsUnreadable", "is longer than 131072 bytes"),
    "a link out of the folder": (linked, "CredentialsUnreadable", "leads out of"),
    "a named pipe": (lambda it: os.mkfifo(it / "credentials.json"), "CredentialsUnreadable", "is no regular file"),
    "a folder": (lambda it: (it / "credentials.json").mkdir(), "CredentialsUnreadable", ""),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_what_cannot_be_used_is_named_and_never_quoted(case: str, tmp_path: Path) -> None:
    make, reason, words = UNUSABLE[case]
    folder = tmp_path / "credentials"
    folder.mkdir()
    make(folder)
    with pytest.raises(KeysUnavailable) as raised:
        read_rendered(folder, FIELDS)
    assert raised.value.reason == reason
    assert words in str(raised.value)
    shown, error = "", raised.value
    while error is not None:
        shown, error = shown + str(error), error.__cause__  # type: ignore[assignment]
    assert CANARY not in shown


def mount(folder: Path, version: str, **files: str) -> None:
    """As the kubelet writes a Secret: a folder for each version, and one link that is exchanged."""
    (folder / version).mkdir(parents=True)
    for name, text in files.items():
        (folder / version / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(version)
    (folder / "..new").rename(folder / "..data")


def test_a_mounted_secret_is_read_and_so_is_its_next_version(tmp_path: Path) -> None:
    mount(tmp_path, "..1", apiKey="a\n", tlsKey=PEM)
    assert read_mounted(tmp_path, FIELDS) == VenueKeys("", {"apiKey": "a", "tlsKey": PEM})
    mount(tmp_path, "..2", apiKey="b", tlsKey=PEM)
    assert read_mounted(tmp_path, FIELDS).keys["apiKey"] == "b"


def test_files_without_a_kubelet_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "apiKey").write_text("a")
    assert read_mounted(tmp_path, {"apiKey": "api-key"}).keys == {"apiKey": "a"}


@pytest.mark.parametrize(
    ("files", "reason", "words"),
    [
        ({"apiKey": "a"}, "WaitingForCredentials", "the Secret needs the key client.pem"),
        ({"apiKey": "a", "tlsKey": " \n"}, "CredentialsIncomplete", "is empty: write the key client.pem"),
    ],
)
def test_what_a_secret_lacks_is_named(files: dict[str, str], reason: str, words: str, tmp_path: Path) -> None:
    mount(tmp_path, "..1", **files)
    with pytest.raises(KeysUnavailable, match=words) as raised:
        read_mounted(tmp_path, FIELDS)
    assert raised.value.reason == reason


def test_a_secret_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "apiKey").write_bytes(b"\xff\xfe")
    with pytest.raises(KeysUnavailable, match="is not UTF-8"):
        read_mounted(tmp_path, {"apiKey": "api-key"})
