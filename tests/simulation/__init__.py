"""Deterministic simulation of the order path on virtual time; see world.py, and `make simulate`."""
