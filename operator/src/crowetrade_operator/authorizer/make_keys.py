"""`python -m crowetrade_operator.authorizer.make_keys NAMESPACE`: makes the Secret with the authorizer's keys once.

The chart runs it before it installs or upgrades anything. A Secret that is there stays as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

import structlog

from crowetrade_operator.authorizer.keys import Seeds
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.secrets import make_once
from crowetrade_operator.errors import ClusterError
from crowetrade_process.logs import configure_logging

SECRET = "crowetrade-authorizer"

log = structlog.get_logger()


async def ensure(cluster: Cluster, namespace: str) -> bool:
    """Whether it was made now. Raises ClusterError, also for a Secret of that name that lacks a key."""
    _, is_new = await make_once(cluster, namespace, SECRET, Seeds.make().secret(), "every pod then connects again")
    return is_new


async def _run(namespace: str, kubeconfig: str) -> None:
    cluster = await connect(kubeconfig)
    try:
        made = await ensure(cluster, namespace)
        log.info("authorizer_keys_made" if made else "authorizer_keys_kept", namespace=namespace, secret=SECRET)
    finally:
        await cluster.close()


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m crowetrade_operator.authorizer.make_keys", description=__doc__)
    parser.add_argument("namespace")
    options = parser.parse_args(arguments)
    configure_logging()
    try:
        asyncio.run(_run(options.namespace, os.environ.get("KUBECONFIG", "")))
    except ClusterError as error:
        log.error("authorizer_keys_not_made", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
