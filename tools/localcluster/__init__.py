"""A real Kubernetes cluster on one machine, without Docker or an image registry: for the tests and the demo."""
