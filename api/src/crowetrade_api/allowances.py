"""Shares of limits that count over gateways, as the operator handles them (allowance.proto). Pure."""

from __future__ import annotations

from crowetrade.config.v1 import allowance_pb2 as pb


def without(ledger: pb.Allowances, venue: str) -> pb.Allowances | None:
    """The ledger without the shares of a gateway that is gone and will not come back, so that others can take them;
    None when it holds none. Only for a gateway whose process has ended and whose venue is deleted: one that still runs
    uses its shares as long as it has not read that they are gone.
    """
    if not any(share.venue == venue for split in ledger.splits for share in split.shares):
        return None
    return pb.Allowances(
        splits=[
            pb.Split(limit=split.limit, shares=[share for share in split.shares if share.venue != venue])
            for split in ledger.splits
        ]
    )
