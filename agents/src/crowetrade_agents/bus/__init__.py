"""The message bus: its port, NATS, and the one within a process."""
