"""What is relied upon of the bus, and what of it this one lacks. What cannot be read is said as well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crowetrade import subjects
from crowetrade_api.reasons import Reason

MAX_PAYLOAD = 1024 * 1024
"""Bytes of a message that a record of a journal needs."""
_NEEDED = (
    "$JS.API.STREAM.CREATE.X",
    "$JS.API.STREAM.INFO.X",
    "$JS.API.STREAM.LIST",
    subjects.key_subject(subjects.CONFIG_BUCKET, "x"),
    subjects.key_subject(subjects.KILL_BUCKET, "x"),
    subjects.key_subject(subjects.ALLOWANCE_BUCKET, "x"),
)
_EXCESSIVE = (
    "$JS.API.STREAM.PURGE.X",
    "$JS.API.STREAM.DELETE.X",
    "$JS.API.STREAM.UPDATE.X",
    subjects.journal("x", "x"),
)


@dataclass(frozen=True, slots=True)
class Server:
    """What one server of the bus says of itself."""

    max_payload: int
    # Whether it syncs every write; None where JetStream is off, so that it stores nothing.
    sync_always: bool | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the bus says of itself; None where it says nothing."""

    # Of the server of the operator's connection.
    max_payload: int
    # By name, all that answer.
    servers: Mapping[str, Server] | None
    max_storage: int | None
    # `permissions` of the operator's user; without identities nobody has any.
    permissions: Mapping[str, Any] | None = None
    identified: bool = False
    rolled_up: tuple[str, ...] = ()
    """Streams of buckets that whoever writes one key may empty: earlier versions made them so."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is missing, with what to do."""

    reason: Reason
    text: str


def faults(facts: Facts) -> tuple[Fault, ...]:
    """What is missing, the worst first."""
    return (*_writes(facts), *_rights(facts), *_emptied(facts), *_bounds(facts))


def _writes(facts: Facts) -> Iterable[Fault]:
    servers = {name: server for name, server in (facts.servers or {}).items() if server.sync_always is not None}
    if not servers:
        yield Fault(
            Reason.BUS_SETTINGS_UNREADABLE,
            "whether NATS syncs every write to disk cannot be read: set jetstream.sync_interval to always, and export "
            f"{subjects.SERVER_FACTS} of the system account to the operator's",
        )
    elif wrong := [name for name, server in servers.items() if not server.sync_always]:
        yield Fault(
            Reason.BUS_WRITES_NOT_SYNCED,
            f"{_named(wrong, facts)} acknowledges a write before it is on disk, so a crash may lose orders: set "
            "jetstream.sync_interval to always",
        )


def _rights(facts: Facts) -> Iterable[Fault]:
    if not facts.identified:
        return
    if facts.permissions is None:
        text = "what the operator may do on the bus cannot be read: NATS does not answer $SYS.REQ.USER.INFO"
        yield Fault(Reason.BUS_SETTINGS_UNREADABLE, text)
        return
    missing = [subject for subject in _NEEDED if not allows(facts.permissions, subject)]
    if missing:
        text = f"the operator may not publish to {', '.join(missing)}: is crowetrade-authorizer of this version?"
        yield Fault(Reason.BUS_PERMISSION_MISSING, text)
    if excessive := [subject for subject in _EXCESSIVE if allows(facts.permissions, subject)]:
        text = (
            f"the operator may publish to {', '.join(excessive)}, so the bus does not hold identities to their "
            "permissions: let NATS ask crowetrade-authorizer (auth_callout)"
        )
        yield Fault(Reason.BUS_PERMISSIONS_TOO_WIDE, text)


def _emptied(facts: Facts) -> Iterable[Fault]:
    """Without identities everybody may purge everything anyway."""
    if facts.identified and facts.rolled_up:
        text = (
            f"who may write one key of {', '.join(facts.rolled_up)} may empty all of it: an administrator of the bus "
            "has to set allow_rollup_hdrs to false and deny_purge to true there (docs/troubleshooting.md)"
        )
        yield Fault(Reason.BUS_BUCKET_EMPTIED_BY_ONE_KEY, text)


def _bounds(facts: Facts) -> Iterable[Fault]:
    payloads = {name: server.max_payload for name, server in (facts.servers or {}).items()} or {"": facts.max_payload}
    if small := [name for name, most in payloads.items() if most < MAX_PAYLOAD]:
        most = min(payloads.values())
        text = f"{_named(small, facts)} takes messages of at most {most} bytes: set max_payload to 1MB"
        yield Fault(Reason.BUS_LIMITS_MISSING, text)
    if facts.max_storage is None:
        yield Fault(Reason.BUS_SETTINGS_UNREADABLE, "the limits of the operator's account on NATS cannot be read")
    elif facts.max_storage <= 0:
        text = "the account on NATS may fill the whole store: set max_file of its jetstream"
        yield Fault(Reason.BUS_LIMITS_MISSING, text)


def _named(wrong: Sequence[str], facts: Facts) -> str:
    """Servers by their names, where there are several."""
    return f"NATS server {', '.join(sorted(wrong))}" if len(facts.servers or ()) > 1 else "NATS"


def allows(permissions: Mapping[str, Any], subject: str) -> bool:
    """Whether permissions as NATS tells them let a subject be published; without any everything may be."""
    publish = permissions.get("publish") or {}
    allowed, denied = publish.get("allow"), publish.get("deny") or ()
    if any(matches(pattern, subject) for pattern in denied):
        return False
    return allowed is None or any(matches(pattern, subject) for pattern in allowed)


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of a pattern of NATS (`*` is one token, `>` at the end at least one)."""
    parts, tokens = pattern.split("."), subject.split(".")
    if parts[-1] == ">":
        return len(tokens) >= len(parts) and matches(".".join([*parts[:-1], "*"]), ".".join(tokens[: len(parts)]))
    return len(parts) == len(tokens) and all(part in ("*", token) for part, token in zip(parts, tokens, strict=True))
