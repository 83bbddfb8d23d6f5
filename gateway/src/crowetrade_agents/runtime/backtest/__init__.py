"""Manifests over history: the gateways and strategies of a cluster in lock step, on virtual time, without waiting."""
