"""Gateways and strategies on this machine, in one process, without a cluster."""
