"""The order path: the engine alone, and the gateway's own process with real sessions, bus and journal."""
