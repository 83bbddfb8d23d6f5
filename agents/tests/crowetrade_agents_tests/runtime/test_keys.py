"""New keys are shown to the venue as soon as they are there, and refused ones again with growing pauses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from crowetrade_agents.runtime.keys import KeyKeeper, key_keeper
from crowetrade_agents.venues.port import LogonRefused, VenueUnavailable
from crowetrade_api.files import EnvName
from crowetrade_api.v1alpha1.venueconnection import Credentials
from crowetrade_process.stopping import cancelled

from ..clock import SECOND_NS, START_NS, JumpingClock, ManualClock, settle
from ..gateway.harness import venue_file

VAULT = Credentials.model_validate({"vault": {"path": "secret/data/a", "role": "a"}})
SECRET = Credentials.model_validate({"secretRef": {"name": "a"}})


def write(folder: Path, key: str, version: int) -> None:
    text = json.dumps({"version": str(version), "keys": {"apiKey": key}})
    (folder / "new").write_text(text)
    (folder / "new").rename(folder / "credentials.json")


class Venue:
    """Takes the keys that it is told to take."""

    def __init__(self, keeper: KeyKeeper, clock: ManualClock, *takes: str) -> None:
        self._keeper = keeper
        self._clock = clock
        self.takes = takes
        self.shown: list[tuple[str, float]] = []

    async def renew(self) -> None:
        key = self._keeper.read()["apiKey"]
        self.shown.append((key, (self._clock.now_ns() - START_NS) / SECOND_NS))
        if key not in self.takes:
            raise LogonRefused("no")
        self._keeper.logged_on()


async def test_keys_that_are_refused_are_shown_again_with_growing_pauses(tmp_path: Path) -> None:
    clock = ManualClock()
    keeper = KeyKeeper(tmp_path, VAULT, clock)
    write(tmp_path, "old", 1)
    keeper.read()
    keeper.logged_on()
    write(tmp_path, "new", 2)
    venue = Venue(keeper, clock)
    task = asyncio.create_task(keeper.run(venue.renew))
    await settle()
    await clock.advance_seconds(244)
    assert venue.shown == [("new", at) for at in (0.25, 1.25, 3.25, 7.25, 15.25, 31.25, 63.25, 123.25, 183.25, 243.25)]
    status = keeper.status()
    assert (status.in_use, status.version, status.reason) == (True, "1", "CredentialsRefused")
    assert "does not take version 2 of the keys: no" in status.message
    write(tmp_path, "other", 3)
    venue.takes = ("other",)
    await clock.advance_seconds(0.25)
    assert venue.shown[-1] == ("other", 244.25), "other keys do not wait"
    assert (keeper.status().version, keeper.status().reason) == ("3", "")
    await cancelled(task)


async def test_nothing_is_shown_twice_and_nothing_before_the_first_logon(tmp_path: Path) -> None:
    clock = ManualClock()
    keeper = KeyKeeper(tmp_path, VAULT, clock)
    write(tmp_path, "first", 1)
    venue = Venue(keeper, clock, "second")
    task = asyncio.create_task(keeper.run(venue.renew))
    await settle()
    await clock.advance_seconds(5)
    assert venue.shown == []
    keeper.read()
    keeper.logged_on()
    await clock.advance_seconds(5)
    assert venue.shown == []
    write(tmp_path, "second", 2)
    await clock.advance_seconds(5)
    assert [key for key, _ in venue.shown] == ["second"]
    await cancelled(task)


def test_the_version_of_each_logon_is_told_where_it_is_another_one(tmp_path: Path) -> None:
    """The first too: the keys may have been renewed while no gateway ran."""
    keeper, told = KeyKeeper(tmp_path, VAULT, JumpingClock(START_NS)), list[tuple[str, str | None]]()
    keeper.on_use(lambda version, before: told.append((version, before)))
    for key, version in (("old", 1), ("old", 1), ("new", 2)):
        write(tmp_path, key, version)
        keeper.read()
        keeper.logged_on()
    assert told == [("1", None), ("2", "1")]


def test_before_the_first_look_nothing_is_claimed(tmp_path: Path) -> None:
    status = KeyKeeper(tmp_path, VAULT, JumpingClock(START_NS)).status()
    assert (status.in_use, status.reason) == (False, "WaitingForCredentials")


def test_what_is_not_there_is_said_to_the_adapter(tmp_path: Path) -> None:
    keeper = KeyKeeper(tmp_path, SECRET, JumpingClock(START_NS))
    with pytest.raises(VenueUnavailable, match=r"the venue's keys are not there: there is no .* needs the key api-key"):
        keeper.read()
    assert keeper.status().reason == "WaitingForCredentials"
    (tmp_path / "apiKey").write_text("a")
    assert keeper.read() == {"apiKey": "a"}
    assert keeper.status().reason == ""


def test_a_log_that_is_begun_again_is_read_from_its_beginning(tmp_path: Path) -> None:
    keeper = KeyKeeper(tmp_path, VAULT, JumpingClock(START_NS))
    write(tmp_path, "a", 1)
    keeper.read()
    log = tmp_path / "vault-agent.log"
    sealed = {"@message": "(view) vault.read(a): URL: GET https://v:1/v1/a\nCode: 503. Errors:\n\n* Vault is sealed"}
    received = {"@message": "(runner) receiving dependency vault.read(a)"}
    log.write_text(json.dumps(sealed) + "\n" + json.dumps(received))
    keeper._read_agent_log()
    assert keeper.status().reason == "VaultSealed", "the last line is not complete"
    log.write_text(json.dumps(sealed) + "\n" + json.dumps(received) + "\n")
    keeper._read_agent_log()
    assert keeper.status().reason == ""
    log.rename(tmp_path / "vault-agent-1.log")
    log.write_text(json.dumps(sealed) + "\n")
    keeper._read_agent_log()
    assert keeper.status().reason == "VaultSealed"


def test_only_a_venue_with_credentials_has_a_keeper(tmp_path: Path) -> None:
    clock, environment = JumpingClock(START_NS), {EnvName.CREDENTIALS_DIRECTORY.value: str(tmp_path)}
    assert key_keeper(venue_file(), environment, clock) is None
    file = venue_file()
    keyed = file.model_copy(update={"spec": file.spec.model_copy(update={"credentials": SECRET})})
    (tmp_path / "apiKey").write_text("a")
    keeper = key_keeper(keyed, environment, clock)
    assert keeper is not None
    assert keeper.read() == {"apiKey": "a"}
