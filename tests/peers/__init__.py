"""CroweTrade's backtest beside other backtesters; `make bench-backtest` makes their environment and runs these."""
