"""One module per source of market data: what its columns are in ours, and how its files are recognised."""
