"""`crowetrade new samples`: the sample manifests, to be run and changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crowetrade_cli.projects.writing import write_files
from crowetrade_cli.samples import sample_manifests


def samples(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="A new folder, which they are written to.")] = Path(
        "samples"
    ),
) -> None:
    """Write the sample manifests: strategies, venues that play recorded prices, and the limit that lets them trade."""
    write_files(out, {Path(file.name): file.read_text(encoding="utf-8") for file in sample_manifests()})
    typer.echo(f"The sample manifests are in {out}. Next: crowetrade run {out}")
