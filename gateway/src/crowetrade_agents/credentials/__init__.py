"""The venue's keys, as they lie in the gateway's pod, and why they do not come."""
