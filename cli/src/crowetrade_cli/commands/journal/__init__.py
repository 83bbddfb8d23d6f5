"""`crowetrade journal`: verify, show and export what a gateway wrote down."""

from __future__ import annotations

import typer

from crowetrade_cli.commands.journal.export import export
from crowetrade_cli.commands.journal.show import show
from crowetrade_cli.commands.journal.verify import verify

app = typer.Typer(no_args_is_help=True, help="What a venue's gateway wrote down: verify, show or export it.")
app.command()(verify)
app.command()(show)
app.command()(export)
