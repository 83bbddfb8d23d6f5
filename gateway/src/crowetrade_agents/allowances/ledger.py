"""What gateways hold of the limits of one RiskLimit (Allowances in allowance.proto), read and written. Pure.

The ledger is the only truth: a gateway may use what stands there under its name and its fencing token, and no more. One
that does not add up, or cannot be read, gives nobody anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from google.protobuf.message import DecodeError

from crowetrade.config.v1 import allowance_pb2
from crowetrade_agents.errors import LedgerUnreadable

WHOLE = 1_000_000
"""A whole limit: shares are counted in millionths of it."""


class Share(NamedTuple):
    """What one gateway has of a limit, in millionths; see Share in allowance.proto."""

    held: int = 0
    wanted: int = 0
    fencing_token: int = 0


class Entry(NamedTuple):
    """A ledger as it is stored. `revision` rises with every change; 0 where there is no ledger."""

    revision: int = 0
    payload: bytes = b""


Shares = Mapping[str, Share]
"""By gateway."""
Ledger = Mapping[str, Shares]
"""By limit."""


def held(shares: Shares) -> int:
    """What all gateways hold together, in millionths."""
    return sum(share.held for share in shares.values())


def decode(payload: bytes) -> Ledger:
    """The ledger in these bytes. Raises LedgerUnreadable."""
    message = allowance_pb2.Allowances()
    try:
        message.ParseFromString(payload)
    except DecodeError as error:
        raise LedgerUnreadable(f"it is not an Allowances message ({error})") from error
    ledger: dict[str, dict[str, Share]] = {}
    for split in message.splits:
        if split.limit in ledger:
            raise LedgerUnreadable(f"it splits {split.limit} twice")
        ledger[split.limit] = {item.venue: Share(item.held, item.wanted, item.fencing_token) for item in split.shares}
        if len(ledger[split.limit]) != len(split.shares):
            raise LedgerUnreadable(f"a gateway has two shares of {split.limit}")
        if (total := held(ledger[split.limit])) > WHOLE:
            raise LedgerUnreadable(f"gateways hold {total} millionths of {split.limit}")
    return ledger


def encode(ledger: Ledger) -> bytes:
    """The same ledger gives the same bytes. What nobody holds or wants is left out."""
    return allowance_pb2.Allowances(
        splits=[
            allowance_pb2.Split(
                limit=limit,
                shares=[
                    allowance_pb2.Share(
                        venue=venue, held=share.held, wanted=share.wanted, fencing_token=share.fencing_token
                    )
                    for venue, share in sorted(shares.items())
                ],
            )
            for limit, shares in sorted(ledger.items())
            if shares
        ]
    ).SerializeToString(deterministic=True)


def with_share(ledger: Ledger, venue: str, mine: Mapping[str, Share]) -> Ledger:
    """The ledger in which the gateway has these shares, by limit, and no others."""
    limits = {*ledger, *mine}
    changed = {}
    for limit in limits:
        others = {name: share for name, share in ledger.get(limit, {}).items() if name != venue}
        changed[limit] = {**others, venue: mine[limit]} if limit in mine else others
    return changed
