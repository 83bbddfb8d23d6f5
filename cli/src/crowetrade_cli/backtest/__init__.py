"""Manifests over history: what is run, what of it is kept, and the runs of a sweep or of folds."""
