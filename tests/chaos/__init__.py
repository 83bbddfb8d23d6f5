"""What must hold whichever process dies when: one file per promise, against real processes.

A run is seeded: `python -m tests.chaos --rounds 200 --seed N` repeats its choices. Timing is the machine's, so a seed
repeats what is sent and when a process is killed, not the interleaving to the microsecond.
"""
