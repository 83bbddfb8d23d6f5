"""Execution stage: TargetPosition and reports in, child orders out.

Pure decisions and state machines: no clock, no I/O. The runtime owns the gateway session and calls them.
"""
