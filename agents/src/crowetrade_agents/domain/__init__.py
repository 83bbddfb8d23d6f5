"""Frozen values of trading: no I/O, no clock of its own."""
