"""`crowetrade run`: the venues, strategies and limits of manifests, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_api.files import EnvName
from crowetrade_cli.errors import CliError, WrongUse
from crowetrade_cli.journal.rows import Row
from crowetrade_cli.local.desk import Desk
from crowetrade_cli.local.fills import Fills
from crowetrade_cli.local.report import report
from crowetrade_cli.local.show import JsonShow, PlainShow, Show, Shows, TableShow
from crowetrade_cli.local.sources import Sources
from crowetrade_cli.local.state import State
from crowetrade_cli.local.wanted import Address, Wanted
from crowetrade_cli.local.watchdog import LoopWatchdog
from crowetrade_cli.samples import INSTALLED_SAMPLES
from crowetrade_cli.web.show import WebShow
from crowetrade_process.logs import configure_logging
from crowetrade_process.stopping import cancelled, stop_on_signals

LOOK_SECONDS = 0.5
WEB_PORT = 8420
TABLE_COLUMNS = 70
"""In fewer the table's columns are too narrow to be read."""


def run(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Manifests: files, folders, - for stdin.")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Of manifests that name none.")] = "default",
    state: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Journals and log are kept there; a later run goes on from it.")
    ] = Path(".crowetrade"),
    samples: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The sample recordings.", show_default=False)
    ] = INSTALLED_SAMPLES,
    data: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Other recordings: NAME/PATH of a claim, NAME/KEY of a ConfigMap."),
    ] = Path("data"),
    plain: Annotated[bool, typer.Option("--plain", help="A line per change instead of the live table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON object per execution and per look.")] = False,
    web: Annotated[
        bool, typer.Option("--web", help="Show it on a page in the browser of this machine as well.")
    ] = False,
    web_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help=f"Of the page: {WEB_PORT} unless named, 0 for a free one."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", min=0, metavar="SECONDS", help="Stop after so long.")
    ] = None,
) -> None:
    """Run the venues, strategies and limits of these manifests here, until Ctrl-C. A changed file is picked up.

    Ctrl-C cancels what is open and keeps positions: the next run with the same --state goes on with them.
    """
    if plain and json:
        raise WrongUse("--plain and --json exclude each other: choose one")
    if web_port is not None and not web:
        raise WrongUse("--web-port is the port of the page, which is not asked for: add --web")
    if seconds is not None and not math.isfinite(seconds):
        raise WrongUse(f"--for {seconds} is no number of seconds: write one, or leave it out to run until Ctrl-C")
    environment = {**os.environ, EnvName.SAMPLE_DIRECTORY: str(samples), EnvName.DATA_DIRECTORY: str(data)}
    sources, kept = Sources(paths, namespace), State(state)
    first = sources.read()
    if first.empty:
        raise WrongUse("no manifest of CroweTrade is there: name the files or folders that hold one")
    for note in sources.notes:
        typer.echo(note, err=True)
    show: Show = JsonShow() if json else PlainShow() if plain or not sys.stdout.isatty() else _for_terminal(Console())
    # Not buffered, and in silence where the disk is full: the log must not end a run, nor write over what it shows.
    logging.raiseExceptions = False
    with kept.held(), kept.log.open("ab", buffering=0) as log:
        configure_logging(stream=io.TextIOWrapper(log, encoding="utf-8", write_through=True))
        if web:
            page = WebShow(WEB_PORT if web_port is None else web_port, SystemClock())
            typer.echo(f"The page is at {page.address}", err=True)
            show = Shows(page, show)
        for place in () if json else sources.switches:
            typer.echo(_how_to_kill(place), err=True)
        uvloop.run(_Running(sources, kept, environment, show).run(first, seconds))


def _for_terminal(console: Console) -> Show:
    if console.width >= TABLE_COLUMNS:
        return TableShow(console)
    typer.echo(
        f"This terminal has {console.width} columns, too few for the table: a line per change instead. Make it "
        f"{TABLE_COLUMNS} columns wide and start again to see the table.",
        err=True,
    )
    return PlainShow()


def _how_to_kill(place: str) -> str:
    return (
        f"While it runs, the KillSwitch of {place} stops whom it selects: set spec.engaged to true there, with a "
        "spec.reason. Set it to false again to re-arm; a file that is gone re-arms nothing."
    )


class _Running:
    """One run, from the first look to the last."""

    def __init__(self, sources: Sources, state: State, environment: Mapping[str, str], show: Show) -> None:
        self._sources = sources
        self._state = state
        self._desk = Desk(state, environment, SystemClock())
        self._show = show
        self._fills: dict[Address, Fills] = {}

    async def run(self, first: Wanted, seconds: float | None) -> None:
        """Until a signal, or until the time is over."""
        stopping = stop_on_signals()
        await self._desk.observe()
        self._desk.want(first)
        working = asyncio.create_task(self._desk.run())
        asked = asyncio.create_task(_stopped(stopping, seconds))
        with LoopWatchdog(self._desk.model_at_work, seconds) as watchdog, self._show:
            try:
                while not asked.done() and not working.done():
                    self._look()
                    await asyncio.wait({asked, working}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                    self._read_again()
                if working.done():
                    working.result()
                watchdog.leave_on_interrupt()
                self._show.say("Stopping: what is open is cancelled, positions are kept. Ctrl-C leaves at once.")
                self._look()
            finally:
                await cancelled(working, asked)
                await self._desk.stop()
                self._look()

    def _look(self) -> None:
        new: list[tuple[Address, Row]] = []
        for address in self._desk.venues:
            if address not in self._fills:
                self._fills[address] = Fills(self._state.journal(address))
            new += [(address, row) for row in self._fills[address].new()]
        new.sort(key=lambda item: item[1].at_unix_ns)
        self._show.update(report(self._desk), new)

    def _read_again(self) -> None:
        """What runs goes on when a changed file cannot be taken."""
        if not self._sources.changed():
            return
        known = self._sources.notes
        try:
            self._desk.want(self._sources.read())
        except CliError as error:
            doubtful = self._sources.switch_in_doubt()
            if doubtful:
                self._desk.distrust(doubtful)
                self._show.say(f"{error}\nA KillSwitch that cannot be read counts as engaged: everything is stopped.")
            else:
                self._show.say(f"{error}\nWhat runs goes on as it was.")
        else:
            # One that another one of its name replaces may be a KillSwitch that is engaged.
            new = [note for note in self._sources.notes if note not in known]
            self._show.say("\n".join(["The manifests have changed and are taken over.", *new]), passing=not new)


async def _stopped(stopping: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
