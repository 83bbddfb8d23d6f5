"""Reads the venue's keys: out of the file that Vault Agent renders, or out of the files of a mounted Secret.

All keys that are read together are of one version: Vault Agent replaces its file as a whole, and Kubernetes the folder
that the link `..data` of a volume leads to. No message quotes what a file holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from crowetrade_agents.errors import KeysUnavailable
from crowetrade_api.files import CREDENTIALS_FILE, CredentialsFile
from crowetrade_api.reasons import Reason
from crowetrade_process.confined import open_confined

MAX_BYTES = 128 * 1024
"""Of a file: keys, passwords and PEM are shorter."""


@dataclass(frozen=True, slots=True)
class VenueKeys:
    """Keys of one version by their names; `version` is empty where the source does not count."""

    version: str
    keys: Mapping[str, str] = field(repr=False)


def read_rendered(directory: Path, fields: Mapping[str, str]) -> VenueKeys:
    """What Vault Agent has rendered. `fields`: the field of the secret of each key. Raises KeysUnavailable."""
    path = directory / CREDENTIALS_FILE
    try:
        # Strict as JSON is: a file that is half written cannot be read.
        rendered = CredentialsFile.model_validate_json(_read(path, directory))
    except FileNotFoundError as error:
        raise KeysUnavailable(Reason.WAITING_FOR_CREDENTIALS, f"there is no {path} yet") from error
    except ValidationError as error:
        # Without the error's own words and without its trace: they quote the input.
        text = f"{path} is not what Vault Agent renders ({error.error_count()} errors)"
        raise KeysUnavailable(Reason.CREDENTIALS_UNREADABLE, text) from None
    missing = [fields[name] for name in fields if not rendered.keys.get(name)]
    if missing:
        version = f"version {rendered.version} of the secret" if rendered.version else "the secret"
        text = f"{version} has no field {', '.join(missing)}, or it is empty: write it, or correct the names in keys"
        raise KeysUnavailable(Reason.CREDENTIALS_INCOMPLETE, text)
    return VenueKeys(rendered.version, {name: str(rendered.keys[name]) for name in fields})


def read_mounted(directory: Path, fields: Mapping[str, str]) -> VenueKeys:
    """What a mounted Secret holds: a file for each key, by its name. Raises KeysUnavailable."""
    # The folder of one version; elsewhere, as on a laptop, the directory itself.
    link = directory / "..data"
    version = link.resolve() if link.exists() else directory
    found = {}
    for name, field_ in fields.items():
        try:
            found[name] = _read(version / name, directory).decode().strip()
        except FileNotFoundError as error:
            text = f"there is no {directory / name}: the Secret needs the key {field_}"
            raise KeysUnavailable(Reason.WAITING_FOR_CREDENTIALS, text) from error
        except UnicodeDecodeError:
            raise KeysUnavailable(Reason.CREDENTIALS_UNREADABLE, f"{directory / name} is not UTF-8") from None
        if not found[name]:
            text = f"{directory / name} is empty: write the key {field_} of the Secret"
            raise KeysUnavailable(Reason.CREDENTIALS_INCOMPLETE, text)
    return VenueKeys("", found)


def _read(path: Path, directory: Path) -> bytes:
    """Raises FileNotFoundError, and KeysUnavailable for everything else."""
    try:
        with open_confined(path, directory) as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror or error}"
        raise KeysUnavailable(Reason.CREDENTIALS_UNREADABLE, text) from error
    if len(content) > MAX_BYTES:
        raise KeysUnavailable(Reason.CREDENTIALS_UNREADABLE, f"{path} is longer than {MAX_BYTES} bytes")
    return content
