"""Which event comes when. Pure: tapes and times in, events and times out.

The tapes of a venue's instruments are merged in time order; of the same time, in the order of the tapes: of the
instruments, and of one instrument its trades before its quotes. Sequence
n, from 1, is place (n - 1) mod the number of events, in round (n - 1) div that number. A round is moved forward by the
length of the recording, so that event time never goes back.

Against the wall clock (Pace), an event is due after the recorded distance divided by the speed, where a distance longer
than the longest gap counts as that gap. A pace hangs on an anchor: "sequence n was due at wall time w". So a gateway
that restarts finds its place from the anchor and the clock: the market did not wait. When speed or longest gap are
edited, the anchor moves to the sequence that the old pace has reached by then, and the new pace goes on from there.
"""

from __future__ import annotations

import heapq
import itertools
import json
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from crowetrade_agents.venues.adapters.simulated.depth import DepthTape, DepthUpdate
from crowetrade_agents.venues.adapters.simulated.tape import AnyTape, Tape
from crowetrade_agents.venues.port import QuoteChanged, TradePrinted


class Replay:
    """The merged recording. `tapes` in the order of the venue's instruments, each with at least one row."""

    def __init__(self, tapes: Sequence[AnyTape], *, loop: bool = False) -> None:
        self._tapes = tapes
        self.has_depth = any(isinstance(tape, DepthTape) for tape in tapes)
        """Whether the depth of at least one instrument is recorded."""
        self._loop = loop
        self._times, self._which, self._rows = array("q"), array("H"), array("I")
        for at_ns, which, row in heapq.merge(*(_events(tape, which) for which, tape in enumerate(tapes))):
            self._times.append(at_ns)
            self._which.append(which)
            self._rows.append(row)
        # From the last event of a round to the first of the next: the usual distance, at least one nanosecond.
        length = self._times[-1] - self._times[0]
        self.step_ns = max(length // max(len(self._times) - 1, 1), 1)
        self._span_ns = length + self.step_ns

    def __len__(self) -> int:
        """Events of one round."""
        return len(self._times)

    @property
    def fingerprint(self) -> str:
        """Differs when the recording was exchanged for another."""
        return f"{len(self._tapes)}:{len(self._times)}:{self._times[0]}:{self._times[-1]}"

    @property
    def times(self) -> array[int]:
        """Event times of the first round."""
        return self._times

    def rows(self, path: Path, symbol: str, from_ns: int, to_ns: int) -> int:
        """Of one recording, how many events of an instrument the first round has from `from_ns` up to and without
        `to_ns`."""
        return sum(
            bisect_left(tape.times, to_ns) - bisect_left(tape.times, from_ns)
            for tape in self._tapes
            if (tape.path, tape.instrument.symbol) == (path, symbol)
        )

    def left_out(self, path: Path, symbol: str) -> int:
        """Of one recording, how many rows of an instrument cannot be traded with. None of depth, whose messages are
        left out where they belong to another state of the book."""
        return sum(
            tape.left_out
            for tape in self._tapes
            if (tape.path, tape.instrument.symbol) == (path, symbol) and not isinstance(tape, DepthTape)
        )

    @property
    def loops(self) -> bool:
        """Whether it begins again at its end."""
        return self._loop

    def exists(self, sequence: int) -> bool:
        """Whether there is an event of this sequence."""
        return sequence >= 1 and (self._loop or sequence <= len(self._times))

    def next_ns(self, sequence: int) -> int | None:
        """Venue time of the event after this sequence; None at the end."""
        if sequence < len(self._times):
            return self._times[sequence]
        return self.event_ns(sequence + 1) if self._loop else None

    def event_ns(self, sequence: int) -> int:
        """Venue time of an event that exists."""
        if sequence <= len(self._times):
            return self._times[sequence - 1]
        turn, place = divmod(sequence - 1, len(self._times))
        return self._times[place] + turn * self._span_ns

    def event(self, sequence: int) -> QuoteChanged | TradePrinted:
        """The event of a sequence that exists."""
        turn, place = divmod(sequence - 1, len(self._times))
        return self._tapes[self._which[place]].event(sequence, self._rows[place], turn * self._span_ns)

    def depth(self, sequence: int, *, whole: bool = False) -> DepthUpdate | None:
        """The levels that change with an event, or all of them; None where the depth is not recorded."""
        place = (sequence - 1) % len(self._times)
        tape, row = self._tapes[self._which[place]], self._rows[place]
        if not isinstance(tape, DepthTape):
            return None
        return tape.whole(row) if whole else tape.update(row)

    def without_depth(self) -> list[str]:
        """Symbols whose depth is not recorded."""
        quotes = (tape for tape in self._tapes if isinstance(tape, Tape) and not isinstance(tape, DepthTape))
        return [tape.instrument.symbol for tape in quotes]

    def sequence_at(self, venue_ns: int) -> int:
        """The last event that is not after a venue time; 0 before the first."""
        if venue_ns < self._times[0]:
            return 0
        turn, within = divmod(venue_ns - self._times[0], self._span_ns)
        if turn and not self._loop:
            return len(self._times)
        return turn * len(self._times) + bisect_right(self._times, self._times[0] + within)

    def in_force(self, sequence: int) -> list[QuoteChanged]:
        """The last quote of each instrument up to a sequence, oldest first."""
        if sequence < 1:
            return []
        turn, place = divmod(sequence - 1, len(self._times))
        found: list[QuoteChanged] = []
        for which, tape in enumerate(self._tapes):
            if not isinstance(tape, Tape):
                continue
            row, round_of_it = self._last_row(which, place), turn
            if row < 0 and turn:
                row, round_of_it = len(tape) - 1, turn - 1
            if row >= 0:
                known = self._sequence_of(which, row, round_of_it)
                found.append(tape.event(known, row, round_of_it * self._span_ns))
        return sorted(found, key=lambda event: event.sequence)

    def _last_row(self, which: int, place: int) -> int:
        """Last row of an instrument up to a place; -1 when there is none. Of one time, instruments stand in their
        order."""
        at_ns, there = self._times[place], self._which[place]
        if which == there:
            return self._rows[place]
        return (bisect_right if which < there else bisect_left)(self._tapes[which].times, at_ns) - 1

    def _sequence_of(self, which: int, row: int, turn: int) -> int:
        place = bisect_left(self._times, self._tapes[which].times[row])
        while self._which[place] != which or self._rows[place] != row:
            place += 1
        return turn * len(self._times) + place + 1


def _events(tape: AnyTape, which: int) -> Iterator[tuple[int, int, int]]:
    for row, at_ns in enumerate(tape.times):
        yield at_ns, which, row


@dataclass(frozen=True, slots=True)
class Anchor:
    """At wall time `wall_ns` the event `sequence` was due."""

    wall_ns: int
    sequence: int


class Pace:
    """A replay against the wall clock. `speed` is recorded seconds per second of the clock, above 0."""

    def __init__(self, replay: Replay, speed: Decimal, max_gap_ns: int, anchor: Anchor) -> None:
        self.anchor = anchor
        self._replay = replay
        self._speed = Fraction(speed)
        self._offsets = array("q", [0])
        offset = 0
        for earlier, later in itertools.pairwise(replay.times):
            offset += min(later - earlier, max_gap_ns) if max_gap_ns else later - earlier
            self._offsets.append(offset)
        self._step_ns = min(replay.step_ns, max_gap_ns) if max_gap_ns else replay.step_ns
        self._round_ns = offset + self._step_ns
        self._anchor_offset = self._offset(anchor.sequence)

    def _offset(self, sequence: int) -> int:
        turn, place = divmod(sequence - 1, len(self._offsets))
        return turn * self._round_ns + self._offsets[place]

    def _elapsed(self, now_ns: int) -> int:
        """Recorded time, gaps shortened, that has passed since the first event."""
        return self._anchor_offset + int((now_ns - self.anchor.wall_ns) * self._speed // 1)

    def _wall(self, offset: int) -> int:
        return self.anchor.wall_ns - int((self._anchor_offset - offset) / self._speed // 1)

    def due_ns(self, sequence: int) -> int:
        """Wall-clock time of an event."""
        return self._wall(self._offset(sequence))

    def sequence_at(self, now_ns: int) -> int:
        """The last event that is due by now; 0 before the first."""
        elapsed = self._elapsed(now_ns)
        if elapsed < 0:
            return 0
        turn, within = divmod(elapsed, self._round_ns)
        if turn and not self._replay.loops:
            return len(self._offsets)
        return turn * len(self._offsets) + bisect_right(self._offsets, within)

    def venue_ns(self, now_ns: int) -> int:
        """Venue time at a wall-clock time. Inside a shortened gap it runs on and then jumps to the next event."""
        sequence = self.sequence_at(now_ns)
        if sequence == 0:
            return self._replay.event_ns(1) + self._elapsed(now_ns)
        venue_ns = self._replay.event_ns(sequence) + self._elapsed(now_ns) - self._offset(sequence)
        if self._replay.exists(sequence + 1):
            return min(venue_ns, self._replay.event_ns(sequence + 1))
        return venue_ns

    def wall_ns(self, venue_ns: int) -> int:
        """The first wall-clock time at which `venue_ns` is reached."""
        sequence = self._replay.sequence_at(venue_ns)
        if sequence == 0:
            return self._wall(venue_ns - self._replay.event_ns(1))
        wall = self._wall(self._offset(sequence) + venue_ns - self._replay.event_ns(sequence))
        return min(wall, self.due_ns(sequence + 1)) if self._replay.exists(sequence + 1) else wall

    def moved(self, speed: Decimal, max_gap_ns: int, now_ns: int) -> Pace:
        """The pace that goes on from the place reached by now. What has passed since its event counts, at most up to
        the next event."""
        sequence = max(self.sequence_at(now_ns), 1)
        passed = self._elapsed(now_ns) - self._offset(sequence)
        after = Pace(self._replay, speed, max_gap_ns, Anchor(now_ns, sequence))
        if self._replay.exists(sequence + 1):
            passed = min(passed, after._offset(sequence + 1) - after._offset(sequence))
        after.anchor = Anchor(now_ns - int(passed / Fraction(speed)), sequence)
        return after


@dataclass(frozen=True, slots=True)
class Place:
    """What a replay wants back after a restart, as JSON in VenueSnapshot.state. `anchor` and `speed` are None in lock
    step, whose place is Resume.market_data_sequence."""

    recording: str
    speed: Decimal | None = None
    max_gap_ns: int = 0
    anchor: Anchor | None = None

    def to_text(self) -> str:
        """JSON with fixed keys."""
        anchor = [self.anchor.wall_ns, self.anchor.sequence] if self.anchor else None
        speed = None if self.speed is None else format(self.speed, "f")
        return json.dumps({"recording": self.recording, "speed": speed, "maxGapNs": self.max_gap_ns, "anchor": anchor})


def place_of(text: str) -> Place | None:
    """The place that a text holds; None for an empty or foreign one, which means: from the beginning."""
    try:
        fields = json.loads(text)
        anchor = Anchor(int(fields["anchor"][0]), int(fields["anchor"][1])) if fields["anchor"] else None
        speed = Decimal(fields["speed"]) if fields["speed"] else None
        return Place(str(fields["recording"]), speed, int(fields["maxGapNs"]), anchor)
    except (ValueError, KeyError, TypeError, ArithmeticError, IndexError):
        return None
