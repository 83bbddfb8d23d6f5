"""The command line: `crowetrade`, and `kubectl crowetrade` as a plugin of kubectl."""

from __future__ import annotations

import os

# What gRPC logs by itself would stand between the lines of a command; it is read when gRPC is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
