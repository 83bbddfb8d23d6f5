"""The process of a hook of the chart: something is done once at the API server, and the exit code says whether."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence

import structlog

from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.errors import ClusterError
from crowetrade_process.logs import configure_logging

log = structlog.get_logger()


def run_hook(
    module: str, description: str | None, arguments: Sequence[str], work: Callable[[Cluster, str], Awaitable[None]]
) -> int:
    """Runs `work` with the namespace of the release, the one argument; returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("namespace")
    namespace = parser.parse_args(arguments).namespace

    async def connected() -> None:
        cluster = await connect(os.environ.get("KUBECONFIG", ""))
        try:
            await work(cluster, namespace)
        finally:
            await cluster.close()

    configure_logging()
    try:
        asyncio.run(connected())
    except ClusterError as error:
        log.error("hook_failed", hook=module, error=str(error))
        return 1
    return 0
