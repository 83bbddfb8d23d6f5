"""Signal stage: FeatureVector in, one Signal out.

A pure state machine: no input but the messages, no clock, no I/O.
"""
