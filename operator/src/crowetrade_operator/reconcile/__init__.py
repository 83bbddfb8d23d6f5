"""The loop: a queue of keys, what is done for each kind, and the writes that follow from what `decide` decides."""
