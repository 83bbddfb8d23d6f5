"""The only code that talks to NATS."""
