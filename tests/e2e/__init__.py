"""One file a promise, against a real cluster with real pods."""
