"""The gateways of a cluster, and the ways to them."""
