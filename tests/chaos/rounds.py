"""Rounds of trading in which a process dies, and the comparison after each: see the package."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.runtime.venue import instruments_of
from crowetrade_agents.venues.adapters.simulated.spec import Fees, Recording, SimulatedSpec
from crowetrade_agents.venues.adapters.simulated.wire import ServerFile
from crowetrade_api.files import EnvName
from tests.chaos.desk import ACTIVE, HALTED, venue_file, write_quotes
from tests.chaos.processes import Launcher, Lines, VenueServer, nats_server
from tests.chaos.report import Report
from tests.chaos.run import Run, nothing

WEIGHTS = {"written": 15, "recorded": 25, "at venue": 20, "time": 15, "start": 5, "venue": 6, "frozen": 7, "halted": 7}
"""Kinds of rounds. The gateway is killed at the n-th request that a strategy wrote; at the n-th record on its way to
the journal; at the n-th request in the venue's log; at some time within the burst; within its start. Or the venue is
killed, or the gateway is frozen while another takes over, or it is killed after a halt."""


class Rounds(Run):
    """A run with its rounds."""

    async def round(self, kind: str | None = None) -> None:
        """One round: trade, kill, start again, compare; of a kind of WEIGHTS, drawn unless it is given."""
        began = time.monotonic()
        kind = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0] if kind is None else kind
        self.report.kills[kind] += 1
        special = {"venue": self.venue_dies, "frozen": self.gateway_freezes, "halted": self.halts}
        await (special[kind]() if kind in special else self.gateway_dies(kind))
        self.report.rounds += 1
        self.report.round_seconds.append(time.monotonic() - began)

    async def ready(self) -> None:
        """A gateway serves and every strategy has a session."""
        if self.gateway is None:
            began = time.monotonic()
            await self.start_gateway()
            self.report.start_seconds.append(time.monotonic() - began)
        if not all(strategy.connected for strategy in self.strategies):
            await self.log_on()
            await self.send_again()

    async def gateway_dies(self, cause: str) -> None:
        """The promise itself."""
        if cause == "start":
            await self._dies_at_its_start()
        else:
            await self.ready()
            token = self.gateway.token if self.gateway else 0
            written = sum(len(strategy.written) for strategy in self.strategies)
            await self._trade_until_killed(cause)
            await self.check()
            self._count_points(token, written)
        await self.ready()
        await self.settle()

    async def _dies_at_its_start(self) -> None:
        if self.gateway is not None:
            await self.burst(3)
            await self.kill_gateway()
        await self.spawn()
        await asyncio.sleep(self.random.random() * 0.25)
        await self.kill_gateway()

    async def _trade_until_killed(self, cause: str) -> None:
        gateway = self.gateway
        assert gateway is not None
        left = self.random.randint(1, 25)

        def happened(what: str) -> None:
            nonlocal left
            if what == cause:
                left -= 1
                if left == 0:
                    gateway.send(signal.SIGKILL)

        self.happened = happened
        others = [asyncio.create_task(self._watch_venue())] if cause == "at venue" else []
        if cause == "time":
            delay = self.random.random() * 0.2
            asyncio.get_running_loop().call_later(delay, gateway.send, signal.SIGKILL)
        try:
            await self.burst(self.random.randint(8, 20))
        finally:
            self.happened = nothing
            for task in others:
                task.cancel()
        await self.kill_gateway()

    async def _watch_venue(self) -> None:
        """Looks at the end of the venue's log all the time."""
        lines = Lines(self.venue.log)
        lines.new()
        while True:
            for line in lines.new():
                if line["message"]["_"] in ("NewOrder", "Replace"):
                    self.happened("at venue")
            await asyncio.sleep(0)

    async def venue_dies(self) -> None:
        """SIGKILL of the venue in the middle of a burst, at times of the gateway too."""
        await self.ready()
        both = self.random.random() < 0.3
        delay = self.random.random() * 0.05

        async def kill() -> None:
            await asyncio.sleep(delay)
            await self.venue.kill()

        await asyncio.gather(self.burst(10), kill())
        if both:
            await self.kill_gateway()
        await self.venue.start()
        await self.ready()
        await self.settle()

    async def gateway_freezes(self) -> None:
        """SIGSTOP of the gateway while another takes over; when it goes on, it finds that out and ends."""
        await self.ready()
        old = self.gateway
        assert old is not None
        delay = self.random.random() * 0.04
        asyncio.get_running_loop().call_later(delay, old.send, signal.SIGSTOP)
        await self.burst(10)
        old.send(signal.SIGSTOP)
        for strategy in self.strategies:
            await strategy.log_off()
        await self.start_gateway()
        await self.log_on()
        await self.send_again()
        asyncio.get_running_loop().call_later(self.random.random() * 0.03, old.send, signal.SIGCONT)
        await self.burst(10)
        old.send(signal.SIGCONT)
        await old.ended()
        assert self.gateway is not None
        assert not self.gateway.gone, f"the gateway that took over has ended, see {self.gateway.output}"
        await self.settle()

    async def halts(self) -> None:
        """A halt in the middle of a burst; after it is acknowledged, nothing new leaves, also not after a kill."""
        await self.ready()
        await asyncio.gather(self.burst(12), self.configure(HALTED))
        await self._send_in_vain()
        await self.kill_gateway()
        self._status = status_pb2.GatewayStatus()
        await self.ready()
        await self._send_in_vain()
        await asyncio.gather(*(strategy.until_answered() for strategy in self.strategies))
        await self.settle()
        await self.configure(ACTIVE)

    async def _send_in_vain(self) -> None:
        before = {strategy.name: len(strategy.written) for strategy in self.strategies}
        await self.burst(5)
        for strategy in self.strategies:
            self.after_halt += strategy.written[before[strategy.name] :]
        await self.check()

    def _count_points(self, token: int, written_before: int) -> None:
        """Where the kill of this session left requests."""
        venue, journal, report = self.venue_record, self.journal_record, self.report
        written = [name for strategy in self.strategies for name in strategy.written]
        refused = {name for strategy in self.strategies for name in strategy.refused}
        new = len(written) - written_before
        fresh = {name for strategy in self.strategies for name in strategy.written[-new:]} if new else set()
        in_journal = {
            name for names in (journal.submitted, journal.cancels) for name, sender in names.items() if sender == token
        }
        at_venue = venue.requests.keys() | venue.cancels.keys()
        points = {
            "before append": fresh - journal.submitted.keys() - journal.cancels.keys() - refused,
            "after append, before send": in_journal - at_venue,
            "after send, before the answer is booked": (in_journal & at_venue) - journal.answered.keys(),
        }
        for point, names in points.items():
            report.points[point] += bool(names)
            report.requests[point] += len(names)
        report.points["at rest"] += not any(points.values())

    def totals(self) -> None:
        """Counts what both sides have."""
        totals = self.report.totals
        totals["requests written"] = sum(len(strategy.written) for strategy in self.strategies)
        totals["orders and replaces at the venue"] = len(self.venue_record.requests)
        totals["cancels at the venue"] = len(self.venue_record.cancels)
        totals["executions"] = len(self.venue_record.executions)
        totals["journal events"] = self.journal_record.sequence
        totals["venue sessions"] = len(self.venue_record.logons)
        for strategy in self.strategies:
            for reason in strategy.refused.values():
                totals[f"refused {reason}"] += 1


@contextlib.asynccontextmanager
async def running(folder: Path, seed: int, repeat: str = "") -> AsyncIterator[Rounds]:
    """Everything but a gateway runs. A failure keeps both logs and says how to repeat it: `repeat`, or the test that
    runs."""
    repeat = repeat or f"python -m pytest '{os.environ.get('PYTEST_CURRENT_TEST', '').partition(' ')[0]}'"
    file = venue_file()
    recording = folder / "rec.csv"
    write_quotes(recording, f"{seed} quotes")
    (folder / "venue.json").write_text(json.dumps(file.content()))
    spec = SimulatedSpec(
        recordings=(Recording(recording),), loop=True, fees=Fees(Decimal("-0.05"), Decimal("0.2")), seed=seed
    )
    venue = VenueServer(folder, ServerFile(tuple(instruments_of(file).values()), spec))
    async with nats_server(folder) as server:
        environment = {
            str(EnvName.NATS_URL): server.url,
            str(EnvName.CONFIG_FILE): str(folder / "venue.json"),
            str(EnvName.HTTP_PORT): "0",
            str(EnvName.GRPC_PORT): "0",
            str(EnvName.CONTROL_PORT): "0",
            str(EnvName.DATA_DIRECTORY): str(folder),
            str(EnvName.TERMINATION_LOG): str(folder / "termination.log"),
            str(EnvName.SIMULATED_SERVER): f"127.0.0.1:{venue.port}",
        }
        launcher = Launcher(folder, environment)
        await asyncio.gather(venue.start(), launcher.import_everything())
        run = Rounds(folder, seed, server, launcher, venue)
        try:
            await run.begin()
            yield run
        except BaseException:
            run.keep()
            print(f"seed {seed} failed after {run.report.rounds} rounds; repeat it with: {repeat}")
            print(f"both logs: {venue.log} and {folder / 'journal.jsonl'}; output of the gateways beside them")
            raise
        finally:
            for strategy in run.strategies:
                await strategy.log_off()
            await launcher.close()
            await venue.kill()


async def rounds(folder: Path, seed: int, count: int, kind: str | None = None) -> Report:
    """Runs so many rounds, of one kind when it is given."""
    repeat = f"make chaos SEED={seed} ROUNDS={count}" + (f" KIND='{kind}'" if kind else "")
    async with running(folder, seed, repeat) as run:
        for _ in range(count):
            await run.round(kind)
        run.totals()
        return run.report
