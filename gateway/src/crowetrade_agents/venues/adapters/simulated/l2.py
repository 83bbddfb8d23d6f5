"""Recorded depth (l2) becomes a tape. Pure: rows in, a DepthTape out.

A row is one price level of a message: its new total size, 0 when it is gone. Rows of one message stand together and
share time, kind (snapshot or diff) and `last_id`. A book begins with a snapshot; a later one replaces it.

Where the rows have update ids, diffs join the snapshot as Binance documents it. Those that came before it are kept:
what is not above the snapshot's id (futures: is below it) is in the snapshot already and left out, the rest is applied
to it at the snapshot's time. The first diff after a snapshot must reach back to it, and each later one must follow the
one before (`first_id` is its `last_id` + 1; futures: `prev_last_id` is its `last_id`), or updates are missing and the
recording is refused. Without ids diffs before the first snapshot are left out, and the rest is taken as it stands.

A message that leaves the book crossed or one side of it empty takes effect together with the next one that does not.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated.depth import Depth, DepthTape, DepthUpdate, Scale
from crowetrade_agents.venues.adapters.simulated.tape import Chunk

NO_ID = -1
"""Stands for an update id that is not recorded."""


@dataclass(slots=True)
class Levels:
    """The columns of a recording, row by row. `prices` and `sizes` are whole numbers of 10^-places; `snapshots` and
    `bids` are 1 or 0; ids are NO_ID where there are none."""

    times: array[int] = field(default_factory=lambda: array("q"))
    snapshots: bytearray = field(default_factory=bytearray)
    bids: bytearray = field(default_factory=bytearray)
    prices: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    first_ids: array[int] = field(default_factory=lambda: array("q"))
    last_ids: array[int] = field(default_factory=lambda: array("q"))
    prev_last_ids: array[int] = field(default_factory=lambda: array("q"))
    price_places: int = 0
    size_places: int = 0

    def add_prices(self, values: array[int], places: int) -> None:
        """Prices of more rows; all get the places of those that have the most. Raises OverflowError."""
        self.prices, self.price_places = _joined(self.prices, self.price_places, values, places)

    def add_sizes(self, values: array[int], places: int) -> None:
        """Sizes of more rows, as add_prices."""
        self.sizes, self.size_places = _joined(self.sizes, self.size_places, values, places)


def _joined(have: array[int], have_places: int, more: array[int], places: int) -> tuple[array[int], int]:
    most = max(have_places, places)
    have = _scaled(have, most - have_places)
    have.extend(_scaled(more, most - places))
    return have, most


def _scaled(values: array[int], places: int) -> array[int]:
    return array("q", [value * 10**places for value in values]) if places else values


class _Message(NamedTuple):
    start: int
    end: int
    is_snapshot: bool
    first_id: int
    last_id: int
    prev_last_id: int


def depth_tape(file: str, instrument: Instrument, levels: Levels) -> DepthTape:
    """The tape of an instrument's rows. Raises DataError when updates are missing, or the book never begins."""
    writer = _Writer(instrument, levels)
    before: list[_Message] = []
    link: _Link | None = None
    for message in _messages(levels):
        if message.is_snapshot:
            link = _Link(message.last_id)
            writer.take(message)
            early = [earlier for earlier in before if link.joins(earlier, file, instrument)]
            for earlier in early:
                writer.take(earlier)
            writer.tape.left_out += len(before) - len(early)
            before.clear()
            writer.end(levels.times[message.start], resets=True)
        elif link is None:
            if message.last_id == NO_ID:
                writer.tape.left_out += 1
            else:
                before.append(message)
        elif link.joins(message, file, instrument):
            writer.take(message)
            writer.end(levels.times[message.start], resets=False)
        else:
            writer.tape.left_out += 1
    if link is None:
        raise DataError(f"{file} holds no snapshot of {instrument.id.symbol}: a recorded book begins with one")
    return writer.finished()


def _messages(levels: Levels) -> Iterator[_Message]:
    times, snapshots, last_ids = levels.times, levels.snapshots, levels.last_ids
    start, rows = 0, len(times)
    for row in range(1, rows + 1):
        if row < rows and (times[row], snapshots[row], last_ids[row]) == (
            times[start],
            snapshots[start],
            last_ids[start],
        ):
            continue
        yield _Message(
            start,
            row,
            bool(snapshots[start]),
            levels.first_ids[start],
            last_ids[start],
            levels.prev_last_ids[start],
        )
        start = row


@dataclass(slots=True)
class _Link:
    """Which update the book has reached; `joined` once a diff has followed the snapshot."""

    last_id: int
    joined: bool = False

    def joins(self, message: _Message, file: str, instrument: Instrument) -> bool:
        """Whether the diff is to be applied: not when the snapshot has it already. Raises DataError for a gap."""
        if NO_ID in (self.last_id, message.last_id):
            return True
        futures = message.prev_last_id != NO_ID
        if not self.joined:
            if message.last_id < self.last_id + (0 if futures else 1):
                return False
            follows = message.first_id <= self.last_id + (0 if futures else 1)
        elif futures:
            follows = message.prev_last_id == self.last_id
        else:
            follows = message.first_id == self.last_id + 1
        if not follows:
            raise DataError(
                f"{file} lacks updates of {instrument.id.symbol} between ids {self.last_id} and {message.last_id}: "
                "take a recording without a gap, or put a snapshot behind it"
            )
        self.last_id, self.joined = message.last_id, True
        return True


class _Writer:
    """Plays the messages through a book, and writes what it shows to the tape."""

    def __init__(self, instrument: Instrument, levels: Levels) -> None:
        scale = Scale(
            max(levels.price_places, _places(instrument.tick_size.as_tuple().exponent)),
            max(levels.size_places, _places(instrument.lot_size.as_tuple().exponent)),
        )
        self.tape = DepthTape(instrument.id, scale=scale)
        self._levels = levels
        self._prices = _scaled(levels.prices, scale.price_places - levels.price_places)
        self._sizes = _scaled(levels.sizes, scale.size_places - levels.size_places)
        self._book = Depth(scale)
        self._times = array("q")
        self._tops = [array("q") for _ in range(4)]
        self._resets = False

    def take(self, message: _Message) -> None:
        rows = range(message.start, message.end)
        bids = self._levels.bids
        keys = array("q", [-self._prices[row] if bids[row] else self._prices[row] for row in rows])
        sizes = self._sizes[message.start : message.end]
        self._book.apply(DepthUpdate(self.tape.scale, message.is_snapshot, keys, sizes))
        self.tape.append_levels(keys, sizes)

    def end(self, at_ns: int, *, resets: bool) -> None:
        self._resets |= resets
        bids, offers = self._book.resting(Side.BUY), self._book.resting(Side.SELL)
        if not bids.keys or not offers.keys or -bids.keys[0] > offers.keys[0]:
            self.tape.left_out += 1
            return
        self.tape.end_row(resets=self._resets)
        self._resets = False
        self._times.append(at_ns)
        bid, offer = bids.keys[0], offers.keys[0]
        for column, value in zip(self._tops, (-bid, bids.sizes[bid], offer, offers.sizes[offer]), strict=True):
            column.append(value)

    def finished(self) -> DepthTape:
        scale = self.tape.scale
        if self._times:
            bid, bid_size, offer, offer_size = self._tops
            self.tape.append(
                self._times,
                Chunk(bid, scale.price_places),
                Chunk(bid_size, scale.size_places),
                Chunk(offer, scale.price_places),
                Chunk(offer_size, scale.size_places),
            )
        return self.tape


def _places(exponent: int | str) -> int:
    return max(-int(exponent), 0)
