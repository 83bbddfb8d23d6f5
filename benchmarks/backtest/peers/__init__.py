"""The same EMA crossover in other backtesters, each a script for the environment .venv-peers.

    .venv-peers/bin/python -m benchmarks.backtest.peers.NAME TASK

What they have in common: long by one lot while the fast average is above the slow one, short while it is below, from
the slow span's event on, by market orders. None of them has risk limits, a journal, or the states of an order at a
venue that is elsewhere. The clock runs in the library's own `run` alone: what was read is a DataFrame, or objects of
the library, before.
"""
