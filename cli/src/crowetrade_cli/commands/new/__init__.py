"""`crowetrade new`: files to start from."""

from __future__ import annotations

import typer

from crowetrade_cli.commands.new.samples import samples
from crowetrade_cli.commands.new.strategy import strategy

app = typer.Typer(no_args_is_help=True, help="Write files to start from: a project of your own model, or the samples.")
app.command()(strategy)
app.command()(samples)
