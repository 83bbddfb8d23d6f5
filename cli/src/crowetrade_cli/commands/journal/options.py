"""Options that the commands about journals share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Nats = Annotated[str, typer.Option("--nats", metavar="URL", envvar="CROWETRADE_NATS", help="Address of the bus.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the VenueConnection.")]
Venue = Annotated[str, typer.Option("--venue", help="Name of the VenueConnection.")]
File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]", help="An exported journal, or NAME.journal of a run, instead of the one on the bus."
    ),
]
DEFAULT_NATS = "nats://localhost:4222"
