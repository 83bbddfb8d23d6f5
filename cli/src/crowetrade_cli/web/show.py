"""A page in a browser as a way to show a desk."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Self

from crowetrade_agents.domain.clock import Clock
from crowetrade_cli.journal.rows import Row
from crowetrade_cli.local.fills import fill_fields
from crowetrade_cli.local.report import Report
from crowetrade_cli.local.said import Said
from crowetrade_cli.local.wanted import Address
from crowetrade_cli.web.feed import Feed
from crowetrade_cli.web.server import PageServer
from crowetrade_cli.web.snapshot import amounts, snapshot

FILLS_SHOWN = 30
_NS_PER_MS = 1_000_000


class WebShow:
    """Implements Show. `address` is the page's."""

    def __init__(self, port: int, clock: Clock) -> None:
        """Port 0 lets the system choose. Raises Failed when the port is taken."""
        self._feed = Feed()
        self._server = PageServer(self._feed, port)
        self._clock = clock
        self._fills: deque[dict[str, Any]] = deque(maxlen=FILLS_SHOWN)
        self._said = Said()
        self.address = self._server.address

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._feed.end()
        self._server.stop()

    def update(self, now: Report, fills: Sequence[tuple[Address, Row]]) -> None:
        """See Show."""
        for venue, row in fills:
            key = f"{venue.namespace}/{venue.name}/{row.sequence}"
            self._fills.appendleft({**fill_fields(venue, row), "key": key})
        at_ns = self._clock.now_ns()
        self._feed.publish(at_ns // _NS_PER_MS, snapshot(now, self._fills, self._said.look(), at_ns), amounts(now))

    def say(self, sentence: str, *, passing: bool = False) -> None:
        """See Show."""
        self._said.say(sentence, passing=passing)
