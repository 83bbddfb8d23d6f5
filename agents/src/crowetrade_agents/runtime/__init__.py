"""Process entry points: configuration, wiring, health, shutdown."""
