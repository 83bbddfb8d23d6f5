"""The only things that a venue accepts: what the gate approved, exactly as it was journaled.

The makers live in risk/_seal.py, which import-linter protects: nothing but risk.gate may import it.
"""

from __future__ import annotations

from dataclasses import dataclass

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.risk import _seal


@dataclass(frozen=True, slots=True, init=False)
class ApprovedOrder:
    """An order that passed every check."""

    terms: OrderTerms

    def __init__(self, terms: OrderTerms, key: object = None) -> None:
        _seal.require(key)
        object.__setattr__(self, "terms", terms)


@dataclass(frozen=True, slots=True, init=False)
class ApprovedCancel:
    """A cancel that may leave. `order_id` is the venue's (FIX tag 37), empty when it gave none yet."""

    cl_ord_id: str
    orig_cl_ord_id: str
    order_id: str
    instrument: InstrumentId
    side: Side
    reason: str

    def __init__(
        self,
        cl_ord_id: str,
        orig_cl_ord_id: str,
        order_id: str,
        instrument: InstrumentId,
        side: Side,
        reason: str,
        key: object = None,
    ) -> None:
        _seal.require(key)
        for name, value in (
            ("cl_ord_id", cl_ord_id),
            ("orig_cl_ord_id", orig_cl_ord_id),
            ("order_id", order_id),
            ("instrument", instrument),
            ("side", side),
            ("reason", reason),
        ):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True, init=False)
class ApprovedReplace:
    """A cancel/replace that passed every check. `terms` are those of the order once it is replaced: its ClOrdID is the
    request's, its quantity is the whole quantity (FIX tag 38)."""

    terms: OrderTerms
    orig_cl_ord_id: str
    order_id: str

    def __init__(self, terms: OrderTerms, orig_cl_ord_id: str, order_id: str, key: object = None) -> None:
        _seal.require(key)
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "orig_cl_ord_id", orig_cl_ord_id)
        object.__setattr__(self, "order_id", order_id)
