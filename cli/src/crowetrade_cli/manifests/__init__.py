"""Manifests as kubectl reads them and as the API server judges them, without a cluster."""
