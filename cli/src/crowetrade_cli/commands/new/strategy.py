"""`crowetrade new strategy`: a project of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crowetrade_cli.projects.names import ProjectNames
from crowetrade_cli.projects.writing import project_files, write_files


def strategy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as my-alpha: of project, strategy and module.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the project's folder is made.")] = Path(),
) -> None:
    """Make a project folder: a model, its test, manifests that run it on recorded prices, and a Dockerfile."""
    names = ProjectNames.of(name)
    folder = out / names.project
    write_files(folder, project_files(names))
    typer.echo(
        f"{folder} holds a model that works: make it yours in src/{names.module}/model.py. Next:\n"
        f"  cd {folder}\n"
        "  pip install --editable '.[test]'\n"
        "  pytest\n"
        "  crowetrade run manifests/"
    )
