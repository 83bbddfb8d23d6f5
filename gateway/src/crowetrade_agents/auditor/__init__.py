"""A second, independent check: what left for a venue is judged again from the journals alone.

Nothing here is shared with the gate or the gateway's books (import-linter forbids it), so that one mistake in them is
not made twice. Orders of a journal are folded and judged in lock step (ledger.py, judge.py); limits that count over
several gateways are judged over all journals together (fleet.py).

What is judged is exact where the journal holds everything, and a range where it does not: prices at a moment come from
the market data that this process heard itself. An order is a violation when the lowest possible value is over the
limit, fine when the highest is not, and counted as not judged otherwise.
"""
