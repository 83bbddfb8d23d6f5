"""One venue's gateway on this machine: its journal is a file, its configuration comes from the desk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_agents.allowances.memory import MemoryLedgers
from crowetrade_agents.bus.local import LocalBus
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.kills import Channel, Kill, Rearm
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import ConfigurationError, JournalError
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.journal.sqlite import SqliteJournal
from crowetrade_agents.order_entry.hub import Sessions
from crowetrade_agents.order_entry.in_process import InProcessEntry
from crowetrade_agents.runtime.gateway import GatewayProcess
from crowetrade_agents.runtime.keys import key_keeper
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents.runtime.venue import venue_of
from crowetrade_api.files import VenueFile, data_mounts
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.local.state import NAME
from crowetrade_cli.local.wanted import Address
from crowetrade_process.health import Health
from crowetrade_process.stopping import unless_stopping

RESTART_NS = 1_000_000_000
CORRECTED_NS = 3_000_000_000
"""A recording that is missing or wrong is looked at again this often."""

_log = structlog.get_logger(__name__)


def file_of(venue: VenueConnection) -> VenueFile:
    """What its gateway is given here: a claim or a ConfigMap is the folder of its name, below the folder of data."""
    file = VenueFile.of(venue)
    simulated = venue.spec.simulated
    mounts = data_mounts(simulated.data) if simulated is not None else []
    names = {str(mount.number): mount.claim_name or mount.config_map for mount in mounts}
    recordings = []
    for item in file.recordings:
        number, _, inside = item.path.partition("/")
        here = f"{names[number]}/{inside}" if item.origin == "Data" else item.path
        recordings.append(item.model_copy(update={"path": here}))
    return file.model_copy(update={"recordings": recordings})


class LocalGateway:
    """Runs until it is stopped; a gateway that ends by an error is started again, as the kubelet would."""

    def __init__(
        self,
        file: VenueFile,
        journal: Path,
        environment: Mapping[str, str],
        bus: LocalBus,
        entry: InProcessEntry,
        ledgers: MemoryLedgers,
        clock: Clock,
    ) -> None:
        self.file = file
        self.problem = ""
        """Why it does not run, for people; empty when it does."""
        self._health = Health()
        self.status: status_pb2.GatewayStatus | None = None
        self.revision = ""
        """Of the configuration that it was given last."""
        self._journal = journal
        self._environment = environment
        self._bus = bus
        self._entry = entry
        self._ledgers = ledgers
        self._clock = clock
        self._kills = Kills(file.namespace, file.name, clock)
        # By KillSwitch, what was handed over last: its order, None where it is not engaged.
        self._obeyed: dict[Address, kill_pb2.KillOrder | None] = {}
        self._configuration = Configuration()
        self._configured = asyncio.Event()
        self._stop = asyncio.Event()
        self._process: GatewayProcess | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def waiting(self) -> str:
        """Why it does not serve yet: what a pod says at /readyz."""
        return self._health.waiting.get("journal", "")

    @property
    def open_orders(self) -> list[Order]:
        """Oldest first; of one that has stopped, those that it left."""
        books = self._process.books if self._process is not None else None
        return list(books.open.values()) if books is not None else []

    def configure(self, config: config_pb2.GatewayConfig) -> None:
        """Hands over what it has to enforce from now on."""
        if config.revision == self.revision:
            return
        self.revision = config.revision
        # Through its bytes, so that what a pod refuses to read is refused here too. The desk is there to the end, so a
        # gateway that is stopped need not wait for the order to close positions.
        self._configuration = replace(decode(config.SerializeToString()), flattened_when_deleted=frozenset())
        self._configured.set()

    def obey(self, switches: Mapping[Address, kill_pb2.KillOrder | None]) -> None:
        """Hands over the orders of KillSwitches, None for one that is not engaged. One that is no longer among them
        stays as it was: that a file is gone re-arms nothing. Whoever writes the manifests may re-arm here."""
        for address, order in switches.items():
            if address in self._obeyed and self._obeyed[address] == order:
                continue
            self._obeyed[address] = order
            if order is None:
                self._kills.put(Rearm(*address, uid="", generation=0, channel=Channel.MANIFEST))
            else:
                self._kills.put(Kill(order, Channel.MANIFEST, self._clock.now_ns()))

    async def stop(self) -> None:
        """Asks it to leave as on SIGTERM, and waits until it has."""
        self._stop.set()
        await asyncio.wait({self._task})
        self._task.result()

    async def _run(self) -> None:
        while not self._stop.is_set():
            journal = SqliteJournal(self._journal)
            try:
                await self._one(journal)
            except ConfigurationError as error:
                self.problem = str(error)
                await self._pause(CORRECTED_NS)
            except JournalError as error:
                self.problem = str(error)
                _log.error("gateway_ended", venue=self.file.name, error=str(error))
                await self._pause(RESTART_NS)
            except Exception as error:  # noqa: BLE001 - the top of the loop: the kubelet restarts whatever it was
                self.problem = f"{type(error).__name__}: {error}"
                _log.exception("gateway_failed", venue=self.file.name)
                await self._pause(RESTART_NS)
            finally:
                journal.close()

    async def _one(self, journal: SqliteJournal) -> None:
        keeper = key_keeper(self.file, self._environment, self._clock)
        venue = venue_of(self.file, self._environment, self._clock, keeper)
        bus = self._bus.connect()
        try:
            self._process = GatewayProcess(
                name=NAME,
                file=self.file,
                venue=venue,
                bus=bus,
                journal=journal,
                configurations=self._configurations(),
                ledgers=self._ledgers.port(),
                serve_sessions=self._serve,
                clock=self._clock,
                health=self._health,
                stop=self._stop,
                kills=self._kills,
                keeper=keeper,
            )
            await self._process.run()
        finally:
            await bus.close()

    @asynccontextmanager
    async def _serve(self, sessions: Sessions) -> AsyncIterator[None]:
        # Not before: a gateway that ends at its start again and again has its problem all the time.
        self.problem = ""
        async with self._entry.serve(sessions):
            yield

    async def _configurations(self) -> AsyncIterator[Configuration]:
        """The one that it was given last, once it was given one, and each later one."""
        await self._configured.wait()
        while True:
            self._configured.clear()
            yield self._configuration
            await self._configured.wait()

    async def _pause(self, nanoseconds: int) -> None:
        await unless_stopping(self._stop, self._clock.wait_until(self._clock.now_ns() + nanoseconds))
        # A gateway that starts again is given what holds now.
        if self.revision:
            self._configured.set()
