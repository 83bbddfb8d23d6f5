"""`crowetrade data formats`: the formats that are known."""

from __future__ import annotations

import typer


def formats() -> None:
    """List the formats that files may have, as --from names them."""
    # Here, because only this command needs Arrow.
    from crowetrade_cli.data.formats.registry import FORMATS

    width = max(len(known.name) for known in FORMATS)
    for known in FORMATS:
        typer.echo(f"{known.name:{width}}  {known.title}")
