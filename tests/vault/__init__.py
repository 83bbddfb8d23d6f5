"""The venue's keys against the real Vault: server, Vault Agent, Kubernetes logins of a real API server."""
