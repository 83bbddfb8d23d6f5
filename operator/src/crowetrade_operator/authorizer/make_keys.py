"""`python -m crowetrade_operator.authorizer.make_keys NAMESPACE`: makes the Secret with the authorizer's keys once.

The chart runs it before it installs or upgrades anything. A Secret that is there stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import structlog

from crowetrade_operator.authorizer.keys import Seeds
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.hook import run_hook
from crowetrade_operator.cluster.secrets import make_once

SECRET = "crowetrade-authorizer"

log = structlog.get_logger()


async def ensure(cluster: Cluster, namespace: str) -> bool:
    """Whether it was made now. Raises ClusterError, also for a Secret of that name that lacks a key."""
    _, is_new = await make_once(cluster, namespace, SECRET, Seeds.make().secret(), "every pod then connects again")
    return is_new


async def _make(cluster: Cluster, namespace: str) -> None:
    made = await ensure(cluster, namespace)
    log.info("authorizer_keys_made" if made else "authorizer_keys_kept", namespace=namespace, secret=SECRET)


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    return run_hook("crowetrade_operator.authorizer.make_keys", __doc__, arguments, _make)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
