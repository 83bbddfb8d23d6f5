"""Portfolio stage: Signal in, one TargetPosition out.

A pure state machine: no input but the messages, no clock, no I/O.
"""
