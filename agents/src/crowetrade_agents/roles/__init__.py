"""The roles of a strategy on the bus: feature, signal, portfolio and execution. They read no clock but the Clock port
and know neither NATS nor gRPC, so the same code runs in the cluster, on a laptop and in a backtest."""
