"""Feature stage: MarketData in, one FeatureVector out.

A pure state machine: no input but the messages, no clock, no I/O.
"""
