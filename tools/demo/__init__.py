"""Brings up a cluster with CroweTrade and three strategies that trade on a simulated venue.

Standard library only: it runs before any package is installed.
"""
