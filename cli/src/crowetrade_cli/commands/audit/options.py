"""Options that the commands about the audit trail share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="An exported audit trail, instead of the one on the bus.")
]
