"""`crowetrade status`: who does not trade, and why."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from lightkube.config.kubeconfig import SingleConfig
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.commands.cluster import Context, Format, Kubeconfig, Namespace, Output
from crowetrade_cli.errors import Failed, Refused
from crowetrade_cli.fleet import ways
from crowetrade_cli.fleet.api_server import ApiServer, connect
from crowetrade_cli.fleet.discovery import Fleet, discover
from crowetrade_cli.fleet.gateways import Gateway
from crowetrade_cli.fleet.kubeconfig import find
from crowetrade_cli.fleet.memory import Memory
from crowetrade_cli.fleet.status import Status, StoppedRow, Update, kill_said
from crowetrade_cli.fleet.status import status as status_of


def status(
    namespace: Namespace = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: Output = Format.TABLE,
) -> None:
    """Show who does not trade and why: KillSwitches engaged, breaches not cleared, strategies and venues stopped. Then
    how far an upgrade is: how many gateways and agents run their present configuration, and what others wait for.

    With the API server down the gateways that are remembered are asked which kill orders they have in force.
    """
    config = find(kubeconfig, context)
    where = None if all_namespaces else namespace or config.namespace
    try:
        found = asyncio.run(_read(config, where))
    except Refused:
        raise
    except Failed as error:
        _show_kills_at_gateways(config, where, str(error), output is Format.JSON)
        raise
    if output is Format.JSON:
        typer.echo(json.dumps(found.to_json()))
    else:
        Console().print(_tables(found))


async def _read(config: SingleConfig, namespace: str | None) -> Status:
    async with connect(config) as api:
        kinds = (Strategy, VenueConnection, RiskLimit, KillSwitch)
        strategies, venues, limits, switches = await asyncio.gather(*(api.objects(kind, namespace) for kind in kinds))
        await _remember(api, config, namespace)
        return status_of(strategies, venues, limits, switches, datetime.now(UTC))


async def _remember(api: ApiServer, config: SingleConfig, namespace: str | None) -> None:
    try:
        fleet: Fleet = await discover(api, namespace or config.namespace)
    except Failed:
        return
    Memory.of_this_user().learn(config.cluster.server, fleet)


def _show_kills_at_gateways(config: SingleConfig, namespace: str | None, problem: str, as_json: bool) -> None:
    known = Memory.of_this_user().of(config.cluster.server).gateways.values()
    gateways = [one for one in known if namespace is None or one.address.namespace == namespace]
    if not gateways:
        return
    kills, silent = asyncio.run(_kills(gateways))
    if as_json:
        typer.echo(json.dumps({"problem": problem, "kills": kills, "silent": silent}))
        return
    table = _table(
        "Kill orders, as the gateways say", "Gateway", "KillSwitch", "Mode", "Open", "Positions", "By", "Reason"
    )
    for row in kills:
        table.add_row(*(Text(str(value)) for value in row.values()))
    Console().print(table)
    if silent:
        typer.echo(f"No answer from {', '.join(silent)}")


async def _kills(gateways: list[Gateway]) -> tuple[list[dict[str, Any]], list[str]]:
    """What each says that answers, and the names of the others."""
    kills, silent = [], []
    for gateway, said in zip(gateways, await asyncio.gather(*(_first_answer(one) for one in gateways)), strict=True):
        if said is None:
            silent.append(str(gateway.address))
        else:
            kills += [kill_said(str(gateway.address), one) for one in said]
    return kills, silent


async def _first_answer(gateway: Gateway) -> list[Any] | None:
    asked = [ways.kills_at(target, gateway.address.server_name) for target in gateway.targets]
    for answer in asyncio.as_completed(asked):
        try:
            return await answer
        except Failed:
            continue
    return None


def _table(title: str, first: str, *columns: str) -> Table:
    # A name or an id that is to be copied stays in one piece.
    table = Table(Column(first, no_wrap=True), title=title, title_justify="left", title_style="bold", box=None)
    for column in columns:
        table.add_column(column, no_wrap=column == "Id")
    return table


def _tables(found: Status) -> Group:
    return Group(
        *([Text(f"NOT PROTECTED: {found.without_identity}", style="bold red")] if found.without_identity else []),
        *(_kill_table(found) if found.kills else ["No KillSwitch is engaged."]),
        *(_breach_table(found) if found.breaches else ["No breach waits to be cleared."]),
        _stopped("Venues", "connected", found.venues, found.venues_total),
        _stopped("Strategies", "trading", found.strategies, found.strategies_total),
        _update("Gateways", found.gateways_update),
        _update("Agents", found.agents_update),
    )


def _kill_table(found: Status) -> Sequence[RenderableType]:
    table = _table("KillSwitches", "Name", "State", "Mode", "Acked", "Open", "Positions", "By", "Since", "Reason")
    for row in found.kills:
        waiting = f"{row.acknowledged} (not {', '.join(row.pending)})" if row.pending else row.acknowledged
        who = (f"{row.namespace}/{row.name}", row.state, row.mode, waiting)
        left = (str(row.still_open), str(row.open_positions))
        table.add_row(*map(Text, (*who, *left, row.engaged_by, row.since, row.reason)))
    return table, "Another person re-arms one: crowetrade rearm NAME -n NAMESPACE --reason ..."


def _breach_table(found: Status) -> Sequence[RenderableType]:
    table = _table("Breaches", "RiskLimit", "Id", "Stops", "Action", "Since", "Why")
    for row in found.breaches:
        cells = (f"{row.namespace}/{row.risk_limit}", row.id, row.strategy or "all bound", row.action, row.since)
        table.add_row(*map(Text, (*cells, row.message)))
    return table, "One is cleared by: crowetrade clear-breach RISKLIMIT ID -n NAMESPACE --reason ..."


def _stopped(title: str, word: str, rows: Sequence[StoppedRow], total: int) -> RenderableType:
    counted = f"{title}: {total - len(rows)} of {total} {word}."
    if not rows:
        return counted
    table = _table(counted, "Name", "State", "Reason", "Why")
    for row in rows:
        table.add_row(*map(Text, (f"{row.namespace}/{row.name}", row.state, row.reason, row.message)))
    return table


def _update(title: str, found: Update) -> str:
    """Only those that there are."""
    said = (
        (found.rolling_out, "rolling out"),
        (found.waiting_for_quiet, "waiting for quiet"),
        (found.waiting_for_flat, "waiting for flat"),
        (found.waiting_for_turn, "waiting for a turn"),
        (found.unknown, "not known"),
    )
    total = found.up_to_date + sum(number for number, _ in said)
    parts = [f"{found.up_to_date} of {total} up to date", *(f"{number} {words}" for number, words in said if number)]
    return f"{title}: {', '.join(parts)}."
