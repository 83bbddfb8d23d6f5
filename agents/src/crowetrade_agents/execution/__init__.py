"""Execution stage: TargetPosition and reports in, child orders out.

Pure decisions and state machines: no clock, no I/O. The execution role owns the sessions and calls them.
"""
