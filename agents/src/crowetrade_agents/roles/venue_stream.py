"""The execution role's place at one venue: its orders, its place in the market data, its session.

A gateway in lock step publishes its next event as soon as the session is up, and the event may overtake the answer to
Logon, because they come by different ways. So an event is held until the session is up, and a logon declares past only
what came up to its own sequence. A gateway that was restarted may publish a sequence again: the stream then begins
again there, and what still belongs to the old one is past.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.flow import MarketEvent, TargetPosition
from crowetrade_agents.domain.numbers import parse_optional
from crowetrade_agents.execution.alignment import Alignment, Step
from crowetrade_agents.execution.own_orders import OwnOrders
from crowetrade_agents.order_entry.port import OrderSession, Request, progress_request

# Steps kept while the first logon is awaited, the newest.
HELD_STEPS = 1000


class Task(NamedTuple):
    """One step to handle; `epoch` says of which run of the venue's stream."""

    stream: VenueStream
    step: Step
    epoch: int

    @property
    def is_past(self) -> bool:
        """The stream began again since, or the event was over at logon."""
        return self.epoch != self.stream.epoch or self.step.sequence <= self.stream.finished


class VenueStream:
    """State of one venue. The worker of the execution role uses it, and the session's callbacks."""

    def __init__(self, venue: str, clock: Clock) -> None:
        self.venue = venue
        self.orders = OwnOrders()
        self.session: OrderSession | None = None
        self.lock_step = False
        # Seconds of event time per second of the clock.
        self.replay_speed = Decimal(1)
        # Last event that the gateway is known to have published.
        self.published = 0
        # In lock step, the last event up to which every report is in `orders`.
        self.reported = 0
        # Last event whose handling is finished.
        self.finished = 0
        # Rises when the gateway's stream of market data begins again.
        self.epoch = 0
        # Event time that has passed in the steps handled, nanoseconds.
        self.elapsed_event_ns = 0
        # Set at whatever the session delivers.
        self.changed = asyncio.Event()
        self._clock = clock
        # Wall clock at which the gateway or we last got further.
        self._moved_ns = 0
        self._last_event_ns: int | None = None
        self._alignment = Alignment()
        self._held: deque[Task] = deque(maxlen=HELD_STEPS)
        self._logged_on_before = False
        self._received_while_down = False

    @property
    def up(self) -> bool:
        """True while orders can be sent."""
        return self.session is not None and self.session.up

    @property
    def must_wait(self) -> bool:
        """True while events have to be held: lock step stands still anyway until the session is up again."""
        return not self.up and (self.lock_step or not self._logged_on_before)

    def restart(self, sequence: int) -> None:
        """The stream begins again after `sequence`."""
        self._alignment.restart(sequence)
        self.finished = sequence
        self.epoch += 1

    def take_event(self, event: MarketEvent, traded: bool) -> list[Task]:
        """Takes one event of the venue; `traded` says whether a target will come for it."""
        self._arrived(event)
        return self._as_tasks(self._alignment.on_market_data(event, traded))

    def take_both(self, event: MarketEvent, target: TargetPosition) -> list[Task]:
        """Takes one event of the venue with its target."""
        self._arrived(event)
        return self._as_tasks(self._alignment.on_both(event, target))

    def take_target(self, target: TargetPosition) -> list[Task]:
        """Takes one target whose event was this venue's."""
        return self._as_tasks(self._alignment.on_target(target))

    def hold(self, task: Task) -> None:
        """Keeps a task until the session is up."""
        self._held.append(task)

    def release(self) -> list[Task]:
        """Returns the held tasks once the session is up."""
        if not self._held or self.must_wait:
            return []
        held, self._held = list(self._held), deque(maxlen=HELD_STEPS)
        return held

    def logged_on(self, snapshot: gateway_pb2.LogonAccepted) -> list[Request]:
        """The gateway's truth replaces ours; returns what to send: unanswered orders and the last Progress."""
        sequence = snapshot.market_data_sequence
        self.lock_step = snapshot.lock_step
        self.replay_speed = parse_optional(snapshot.replay_speed) or Decimal(1)
        if not self._logged_on_before:
            self._alignment.pass_over(sequence)
            self.finished = sequence
        elif sequence < self._alignment.latest and not self._received_while_down:
            self.restart(sequence)
        self._logged_on_before = True
        self._received_while_down = False
        self.finished = min(self.finished, sequence)
        self.published = max(sequence, self._alignment.latest)
        self.reported = sequence
        self._moved_ns = self._clock.now_ns()
        resend = [Request(new_order=order) for order in self.orders.on_logon(snapshot, self._moved_ns)]
        self.changed.set()
        return [*resend, *([progress_request(self.finished)] if self.lock_step and self.finished else [])]

    def went_down(self) -> None:
        """The session ended or could not be opened."""
        self._received_while_down = False
        self.changed.set()

    def stalls_at_ns(self, patience_ns: int) -> int | None:
        """Wall clock at which lock step counts as stalled, because it waits for us and nothing has come for so long;
        None while it does not wait."""
        waits = self.lock_step and self.up and self.published > self.finished
        return self._moved_ns + patience_ns if waits else None

    def pass_event_time(self, event_ns: int) -> None:
        """A step of that event time is being handled."""
        if self._last_event_ns is not None:
            self.elapsed_event_ns += max(event_ns - self._last_event_ns, 0)
        self._last_event_ns = event_ns

    async def finish(self, sequence: int) -> None:
        """The event is handled: no order is still to come for it."""
        self.finished = max(self.finished, sequence)
        self._moved_ns = self._clock.now_ns()
        if self.lock_step and self.session is not None:
            await self.session.progress(self.finished)

    async def send(self, request: Request) -> bool:
        """False when the session is not up and nothing was sent."""
        return self.session is not None and await self.session.send(request)

    def _arrived(self, event: MarketEvent) -> None:
        if event.sequence <= self._alignment.latest:
            self.restart(event.sequence - 1)
        self.published = event.sequence
        self._moved_ns = self._clock.now_ns()
        self._received_while_down = self._received_while_down or not self.up

    def _as_tasks(self, steps: Iterable[Step]) -> list[Task]:
        return [Task(self, step, self.epoch) for step in steps]
