"""What each process of ours has: an identity, logs, health, an orderly stop and an exit that says why."""

from __future__ import annotations

import os

# For TLS 1.2 alone, and for RSA keys alone, which no identity has (see identity/grpc.py). gRPC reads it when it is
# imported, so it is set here, before any module of ours that imports it.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES128-GCM-SHA256"
