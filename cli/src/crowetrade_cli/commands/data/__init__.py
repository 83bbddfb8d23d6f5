"""`crowetrade data`: market data of other people's files, inspected and converted."""

from __future__ import annotations

import typer

from crowetrade_cli.commands.data.convert import convert
from crowetrade_cli.commands.data.formats import formats
from crowetrade_cli.commands.data.inspect import inspect

app = typer.Typer(no_args_is_help=True, help="Market data: inspect files, and convert them to what venues replay.")
app.command()(inspect)
app.command()(convert)
app.command()(formats)
