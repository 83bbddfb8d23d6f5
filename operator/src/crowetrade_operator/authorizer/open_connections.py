"""Connections that are open are judged again when a certificate is revoked.

nats-server asks about a connection when it is opened, and about all of them whenever it reads its configuration. So it
is told to read it. Each replica does so when it learns of a revocation itself: whichever replica answers, the last one
to learn of it has the question put once more.
"""

from __future__ import annotations

import asyncio
import json

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from crowetrade import subjects
from crowetrade_operator.authorizer import metrics
from crowetrade_operator.errors import OperatorError

INBOX_PREFIX = "_INBOX.authorizer"
"""Of the authorizers' connections in account AUTH, where nobody else is; access-identity.conf lets them read there."""
ANSWERS_SECONDS = 2.0
"""How long servers have to say who they are."""
RELOAD_SECONDS = 60.0
"""A server asks about one connection after the other before it answers."""
RETRY_SECONDS = 10.0

log = structlog.get_logger()


class NotJudgedAgain(OperatorError):
    """A server has not asked about its connections; another try may help."""


class OpenConnections:
    """Of all servers, seen from one replica."""

    def __init__(self) -> None:
        self._revoked = asyncio.Event()

    def revoked(self) -> None:
        """A certificate was revoked."""
        self._revoked.set()

    async def run(self, client: Client) -> None:
        """Has the servers ask again after each revocation, until it is cancelled."""
        while True:
            await self._revoked.wait()
            self._revoked.clear()
            try:
                servers = await self._judge_again(client)
            except (NatsError, NotJudgedAgain, TimeoutError, OSError) as error:
                log.warning("connections_not_judged_again", error=str(error) or type(error).__name__)
                metrics.REVOCATIONS_APPLIED.labels("Failed").inc()
                self._revoked.set()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                log.info("connections_judged_again", servers=servers)
                metrics.REVOCATIONS_APPLIED.labels("Done").inc()

    async def _judge_again(self, client: Client) -> list[str]:
        servers = await servers_of(client)
        for name, server_id in servers.items():
            answer = await client.request(subjects.server_reload(server_id), timeout=RELOAD_SECONDS)
            failed = json.loads(answer.data).get("error")
            if failed:
                raise NotJudgedAgain(f"{name}: {failed}")
        return sorted(servers)


async def servers_of(client: Client) -> dict[str, str]:
    """The ids of all servers by their names."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    found: dict[str, str] = {}
    try:
        await client.publish(subjects.SERVER_NAMES, reply=inbox)
        async with asyncio.timeout(ANSWERS_SECONDS):
            while True:
                answer = await answers.next_msg(timeout=ANSWERS_SECONDS)
                if answer.data:  # without any, nobody is there to answer
                    server = json.loads(answer.data)
                    found[server["name"]] = server["id"]
    except TimeoutError:  # nats-py's too
        pass
    finally:
        await answers.unsubscribe()
    if not found:
        raise NotJudgedAgain(f"no server says who it is: may account AUTH ask {subjects.SERVER_NAMES}?")
    return found
