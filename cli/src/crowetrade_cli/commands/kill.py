"""`crowetrade kill`: stops trading, by every way that leads to the gateways."""

from __future__ import annotations

import asyncio
import json as json_text
import sys
import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from crowetrade_cli.commands.cluster import Context, Kubeconfig, Namespace, Nats
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.fleet.kill import LOOK_SECONDS, Kill, Look, Reach
from crowetrade_cli.fleet.kubeconfig import find
from crowetrade_cli.fleet.memory import Memory
from crowetrade_cli.fleet.order import Asked, check, scope_of
from crowetrade_cli.fleet.progress import Row, Stage
from crowetrade_cli.fleet.show import JsonShow, PlainShow, Show, TableShow
from crowetrade_process.stopping import cancelled

EVERYTHING = "all"
"""Name of the KillSwitch of --all, where none is named."""

NOT_STOPPED_SHOWN = 20


class Mode(StrEnum):
    """spec.mode of a KillSwitch."""

    BLOCK = "Block"
    CLOSE_ONLY = "CloseOnly"
    CANCEL = "Cancel"
    FLATTEN = "Flatten"


def kill(
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever finds trading stopped.")],
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]", help="The KillSwitch; made if it is not there, and otherwise never made narrower."
        ),
    ] = "",
    everything: Annotated[
        bool,
        typer.Option(
            "--all",
            help=f"Everything in the namespace, with -A in every one; the KillSwitch is {EVERYTHING} unless named.",
        ),
    ] = False,
    mode: Annotated[
        Mode | None, typer.Option(help="What it does; Cancel unless the KillSwitch says another one.")
    ] = None,
    namespace: Namespace = "",
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="In every namespace, not in one alone.")
    ] = False,
    selector: Annotated[
        list[str] | None, typer.Option("--selector", "-l", metavar="KEY=VALUE", help="Strategies with this label.")
    ] = None,
    venue_selector: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="VenueConnections with this label.")
    ] = None,
    nats: Nats = "",
    gateway: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]HOST:PORT",
            help="Control service of a gateway, besides those that are known; with TLS, NAME is the one in its "
            "certificate where HOST is not.",
        ),
    ] = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    timeout: Annotated[
        float,
        typer.Option(min=0.1, metavar="SECONDS", help="How long to wait, once it is out, until all have halted."),
    ] = 30.0,
    plain: Annotated[bool, typer.Option("--plain", help="A line per change instead of the live table.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON object per change, and one at the end.")] = False,
) -> None:
    """Stop trading: engage a KillSwitch at the API server, on the bus and at each gateway directly, all at once.

    Any one way is enough. Exit code 0: every gateway that is known and concerned has halted, and with Flatten holds no
    position; it is 1 also where the KillSwitch of that name is prepared for more than the order stops, and not engaged.
    At the end it says whom the order stops, and with --all which gateways of other namespaces trade on.
    """
    if plain and json:
        raise WrongUse("--plain and --json exclude each other: choose one")
    selected = bool(selector or venue_selector)
    if not name and not everything:
        raise WrongUse("name the KillSwitch, or stop everything with --all")
    if everything and selected:
        raise WrongUse(
            "--all stops everything, so --selector and --venue-selector have nothing to choose: leave them out"
        )
    if all_namespaces and not everything and not selected:
        raise WrongUse("--all-namespaces says where, and not whom: add --all, --selector or --venue-selector")
    for target in gateway or []:
        _check_target(target)
    scope = scope_of(selector or [], venue_selector or [], all_namespaces) if everything or selected else None
    config, no_config = None, ""
    try:
        config = find(kubeconfig, context)
    except Failed as error:
        no_config = str(error)
    asked = Asked(
        namespace=namespace or (config.namespace if config is not None else "default"),
        name=name or EVERYTHING,
        reason=reason,
        mode=mode.value if mode is not None else None,
        scope=scope,
    )
    check(asked)
    reach = Reach(config, no_config, nats, gateway or [], Memory.of_this_user())
    show: Show = JsonShow() if json else PlainShow() if plain or not sys.stdout.isatty() else TableShow()
    look = asyncio.run(_follow(asked, reach, show, timeout))
    if json:
        typer.echo(json_text.dumps({"result": _result(look)}))
    elif look.reached:
        typer.echo(_stops(look))
        typer.echo(_rearm(look))
    wrong = ["" if look.halted else _not_halted(look, timeout), look.unengaged]
    if any(wrong):
        raise Failed(". ".join(filter(None, wrong)))


async def _follow(asked: Asked, reach: Reach, show: Show, timeout: float) -> Look:
    order = Kill(asked, reach)
    working = asyncio.create_task(order.run())
    with show:
        try:
            # Whatever the timeout is, every way is tried first.
            deadline: float | None = None
            while not working.done():
                look, now = order.look(), time.monotonic()
                show.update(look)
                if deadline is None and look.tried:
                    deadline = now + timeout
                if look.over or (deadline is not None and now >= deadline):
                    break
                await asyncio.wait({working}, timeout=LOOK_SECONDS)
            if working.done():
                working.result()
        finally:
            await cancelled(working)
        look = order.look()
        show.update(look)
    return look


def _check_target(target: str) -> None:
    host, _, port = target.rpartition("=")[2].rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise WrongUse(f'--gateway "{target}" is no HOST:PORT, such as 10.0.3.7:50052')


def _result(look: Look) -> dict[str, Any]:
    return {
        "namespace": look.namespace,
        "name": look.name,
        "killSwitchStored": look.by_object,
        "reached": look.reached,
        "halted": look.halted,
        "gateways": [row.gateway for row in look.gateways],
        "pending": [row.gateway for row in look.gateways if row.stage is not Stage.HALTED],
        "stops": look.stops,
        "notStopped": list(look.not_stopped),
        "notEngaged": look.unengaged,
    }


def _stops(look: Look) -> str:
    text = f"The order stops {look.stops}"
    if not look.not_stopped:
        return text
    more = len(look.not_stopped) - NOT_STOPPED_SHOWN
    listed = ", ".join(look.not_stopped[:NOT_STOPPED_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{text}. Not stopped, use -A: {listed}"


def _rearm(look: Look) -> str:
    command = f"crowetrade rearm {look.name} -n {look.namespace} --reason ..."
    if look.by_object:
        return f"Engaged until another person re-arms it: {command}"
    return (
        f"The API server has not confirmed a KillSwitch of this order, which is called {look.name}: where it has none "
        "the operator makes one of that name, once gateways report the order. It names nobody: first somebody writes "
        f"their user name to its spec.engagedBy, and then another person re-arms it: {command}"
    )


def _not_halted(look: Look, timeout: float) -> str:
    if not look.reached:
        listed = "; ".join(f"{way.name}: {way.message}" for way in look.ways)
        return f"the order has reached nobody ({listed})"
    if not look.gateways:
        return "no gateway is known that it concerns, so nobody has said that trading has stopped"
    pending = [row for row in look.gateways if row.stage is not Stage.HALTED]
    listed = "; ".join(f"{row.gateway} ({_why(row)})" for row in pending)
    return (
        f"{len(pending)} of {len(look.gateways)} gateways have not said in {timeout:g} s that they have halted: "
        f"{listed}. What is engaged stays engaged"
    )


def _why(row: Row) -> str:
    if row.problem:
        return row.problem
    if row.still_open_count:
        return f"{row.still_open_count} orders are open"
    if row.positions_count:
        listed = ", ".join(row.positions)
        return f"{row.positions_count} positions are open: {listed}"
    return row.stage
