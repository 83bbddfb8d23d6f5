"""`nats.replicas: 3`: the StatefulSet starts all servers at once, and none stays alone, whenever its name and those of
the others are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowetrade_operator_tests.secured_cluster import SERVERS, SecuredCluster
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
STARTS = 3
"""The first with an empty store."""
PATIENCE_SECONDS = 60.0


async def together(cluster: SecuredCluster) -> None:
    """Waits until each server has a connection to each other one."""
    for number in range(SERVERS):
        others = {f"nats-{other}" for other in range(SERVERS) if other != number}

        def connected(number: int = number, others: set[str] = others) -> bool:
            try:
                return cluster.routes_of(number) == others
            except OSError:  # it has not begun to tell
                return False

        await until(f"server {number} to have connections to the others", connected, PATIENCE_SECONDS)
        cluster.wait_ready(number)


async def test_servers_that_know_nobody_but_themselves_at_first_wait_for_the_others(tmp_path: Path) -> None:
    """As the DNS of a node may know the pod of that node a moment before those of others. nats-server gives up a route
    that has led to itself: a route to their Service left all three alone."""
    cluster = SecuredCluster(tmp_path)
    try:
        cluster.prepare()
        for number in range(SERVERS):
            cluster.know(number, number)
            cluster.start_server(number)
        for number in range(SERVERS):

            def tried(number: int = number) -> bool:
                return "Duplicate Route" in cluster.log_of(number)

            await until(f"server {number} to have tried itself", tried, PATIENCE_SECONDS)
            assert not cluster.routes_of(number)
        for number in range(SERVERS):
            cluster.know(number, *range(SERVERS))
        await together(cluster)
    finally:
        cluster.stop()


async def test_servers_that_start_at_once_find_each_other_at_every_start(tmp_path: Path) -> None:
    cluster = SecuredCluster(tmp_path)
    try:
        cluster.prepare()
        for _ in range(STARTS):
            for number in range(SERVERS):
                cluster.start_server(number)
            await together(cluster)
            for number in range(SERVERS):
                cluster.kill(number)
    finally:
        cluster.stop()
