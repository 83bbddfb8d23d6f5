"""Recordings read back, and times written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.venues.adapters.simulated.recording import read
from crowetrade_agents.venues.adapters.simulated.spec import QuoteMaking, Recording
from crowetrade_agents.venues.adapters.simulated.tape import Tape

ASSUMED = Decimal(777)
"""What the venue assumes where a size is unknown."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ns(text: str) -> int:
    """Nanoseconds of an ISO 8601 time in UTC, with up to nine decimals."""
    whole, _, decimals = text.partition(".")
    seconds = (datetime.fromisoformat(whole).replace(tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
    return seconds * 1_000_000_000 + int(decimals.ljust(9, "0"))


def rows_of(path: Path) -> list[dict[str, object]]:
    """The rows of a recording without what is null."""
    rows = pyarrow.parquet.read_table(path).to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def replayed(path: Path) -> list[TopOfBook]:
    """The quotes that a simulated venue makes of a recording; those of bars and trades without a spread."""
    instrument = Instrument(InstrumentId("sim", "X"), "USD", Decimal(1), Decimal("1e-18"), Decimal(1), Decimal(1))
    making = QuoteMaking(spread_bps=Decimal(0), quantity=ASSUMED)
    (tape,) = read([Recording(path, "X", making)], [instrument])
    assert isinstance(tape, Tape)
    return [tape.book(row) for row in range(len(tape))]
