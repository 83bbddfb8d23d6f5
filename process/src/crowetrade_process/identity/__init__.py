"""Who a process is: an X.509 certificate with one SPIFFE identity, where it comes from, and whom it lets in.

A source (files, Vault) issues credentials; the holder keeps and renews them; gRPC and NATS take them from there. With
no source there is no identity, and connections are plain TCP: for development.
"""
