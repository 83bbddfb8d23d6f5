"""`crowetrade describe`: why does it not trade, in one answer; then what its status says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from lightkube.config.kubeconfig import SingleConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy, venue_refs
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.commands.cluster import Context, Format, Kubeconfig, Namespace, Output
from crowetrade_cli.errors import Refused
from crowetrade_cli.fleet.answer import Answer, answer_for_strategy, answer_for_venue
from crowetrade_cli.fleet.api_server import ApiServer, Kind, Object, connect
from crowetrade_cli.fleet.kubeconfig import find
from crowetrade_cli.fleet.reference import Reference, reference
from crowetrade_cli.fleet.status import NOT_REPORTED

SHOWN_EVENTS = 10


def describe(
    name: Annotated[str, typer.Argument(help="A Strategy (NAME or strategy/NAME) or a venue (venue/NAME).")],
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: Output = Format.TABLE,
) -> None:
    """Say why it does not trade and what to do; then its conditions and its last events."""
    wanted = reference(name, (Strategy, VenueConnection))
    config = find(kubeconfig, context)
    answer, item, events = asyncio.run(_read(config, namespace or config.namespace, wanted))
    conditions = (item.get("status") or {}).get("conditions") or []
    if output is Format.JSON:
        typer.echo(json.dumps({**answer.to_json(), "conditions": conditions, "events": events}))
        return
    console = Console()
    _show_answer(console, answer)
    _show_table(
        console, "Conditions", [(one["type"], one["status"], one["reason"], one["message"]) for one in conditions]
    )
    rows = [(one["at"], one["type"], one["reason"], one["message"]) for one in events]
    _show_table(console, "Events", rows)


async def _read(config: SingleConfig, namespace: str, wanted: Reference) -> tuple[Answer, Object, list[Object]]:
    async with connect(config) as api:
        item = await api.get(wanted.kind, namespace, wanted.name)
        events = await api.events(namespace, wanted.kind.__name__, wanted.name)
        refs = venue_refs(item.get("spec")) if wanted.kind is Strategy else []
        homes = sorted({namespace, *(ref.get("namespace") or namespace for ref in refs)})
        venues, limits, switches = [await _seen(api, kind, homes) for kind in (VenueConnection, RiskLimit, KillSwitch)]
    now = datetime.now(UTC)
    if wanted.kind is Strategy:
        answer = answer_for_strategy(item, venues, limits, switches, now)
    else:
        answer = answer_for_venue(item, switches, now)
    return answer, item, events[-SHOWN_EVENTS:]


async def _seen(api: ApiServer, kind: Kind, namespaces: Sequence[str]) -> list[Object]:
    """Those of these namespaces that the user may see."""
    found: list[Object] = []
    for namespace in namespaces:
        try:
            found += await api.objects(kind, namespace)
        except Refused as error:
            if not error.final:
                raise
    return found


def _show_answer(console: Console, answer: Answer) -> None:
    name = f"{answer.kind} {answer.namespace}/{answer.name}"
    if answer.trades:
        console.print(Text(f"{name} is well: {answer.state}.", style="bold green"))
    else:
        why = ": ".join(part for part in (answer.reason, answer.message) if part)
        unknown = answer.reason == NOT_REPORTED
        verdict = "may trade or not" if unknown else f"does not trade ({answer.state})"
        console.print(Text(f"{name} {verdict}. {why}", style="bold red"))
    for cause in answer.causes:
        console.print(Text(f"  {cause.what}: {cause.why}"))
        if cause.next:
            console.print(Text(f"    -> {cause.next}", style="cyan"))


def _show_table(console: Console, title: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
