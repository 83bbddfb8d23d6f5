"""`crowetrade audit`: verify, show and export who changed what."""

from __future__ import annotations

import typer

from crowetrade_cli.commands.audit.export import export
from crowetrade_cli.commands.audit.show import show
from crowetrade_cli.commands.audit.verify import verify

app = typer.Typer(no_args_is_help=True, help="Who changed what, and what was done about it: verify, show or export it.")
app.command()(verify)
app.command()(show)
app.command()(export)
