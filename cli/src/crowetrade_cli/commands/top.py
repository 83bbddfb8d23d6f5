"""`crowetrade top`: which strategies trade how much, win or lose, and how near they are to their limits."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import typer
from lightkube.config.kubeconfig import SingleConfig
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_cli.commands.cluster import Context, Format, Kubeconfig, Namespace, Output
from crowetrade_cli.fleet.api_server import connect
from crowetrade_cli.fleet.kubeconfig import find
from crowetrade_cli.fleet.top import Order, TopRow
from crowetrade_cli.fleet.top import top as rows_of


def top(
    namespace: Namespace = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    sort: Annotated[Order, typer.Option("--sort", help="What is first.")] = Order.NAME,
    watch: Annotated[
        float, typer.Option("--watch", "-w", min=0, metavar="SECONDS", help="Look again so often; 0: once.")
    ] = 0.0,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    output: Output = Format.TABLE,
) -> None:
    """Show positions, PnL, orders and the nearest limit of each strategy, as the operator reported them last."""
    config = find(kubeconfig, context)
    where = None if all_namespaces else namespace or config.namespace
    asyncio.run(_show(config, where, sort, watch, output))


async def _show(config: SingleConfig, namespace: str | None, sort: Order, watch: float, output: Format) -> None:
    async with connect(config) as api:

        async def look() -> Sequence[TopRow]:
            strategies, limits = await asyncio.gather(*(api.objects(kind, namespace) for kind in (Strategy, RiskLimit)))
            return rows_of(strategies, limits, sort, datetime.now(UTC))

        if output is Format.JSON or not watch or not sys.stdout.isatty():
            while True:
                found = await look()
                if output is Format.JSON:
                    typer.echo(json.dumps([row.to_json() for row in found]))
                else:
                    Console().print(_table(found))
                if not watch:
                    return
                await asyncio.sleep(watch)
        with Live(_table(await look()), auto_refresh=False) as live:
            while True:
                await asyncio.sleep(watch)
                live.update(_table(await look()), refresh=True)


def _table(rows: Sequence[TopRow]) -> Table:
    table = Table(box=None)
    for column in ("Strategy", "Phase", "Position"):
        table.add_column(column)
    for column in ("PnL", "Open", "Sent", "Filled", "Rejected", "Limit used"):
        table.add_column(column, justify="right")
    for row in rows:
        net = Text(f"{row.net} {row.currency}".strip(), style="red" if row.net.startswith("-") else "")
        used = f"{Decimal(row.utilisation) * 100:.0f} % {row.limit}" if row.utilisation else ""
        counts = (row.open, row.sent, row.filled, row.rejected)
        phase = Text(f"Unknown: {row.unreported}", style="red") if row.unreported else row.phase
        table.add_row(f"{row.namespace}/{row.name}", phase, row.position, net, *map(str, counts), used)
    return table
