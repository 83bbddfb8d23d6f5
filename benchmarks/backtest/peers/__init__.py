"""The same EMA crossover in other backtesters, each a script for the environment .venv-peers.

    .venv-peers/bin/python -m benchmarks.backtest.peers.NAME TASK

What they have in common: long by one lot while the fast average is above the slow one, short while it is below, from
the slow span's event on, by market orders. None of them has limits on positions or rates, or a journal; nautilus_trader
alone has the states of an order and checks each order's size and notional. The clock runs in the library's own `run`
alone: what was read is a DataFrame, or objects of the library, before.
"""
