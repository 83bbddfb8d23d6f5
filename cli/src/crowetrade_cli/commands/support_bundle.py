"""`crowetrade support-bundle`: one file with what helps to find a fault, without keys."""

from __future__ import annotations

import asyncio
import io
import tarfile
import time
from pathlib import Path
from typing import Annotated

import typer
from lightkube.config.kubeconfig import SingleConfig

from crowetrade_cli.commands.cluster import Context, Kubeconfig, Namespace
from crowetrade_cli.errors import WrongUse
from crowetrade_cli.fleet.api_server import connect
from crowetrade_cli.fleet.bundle import Bundle
from crowetrade_cli.fleet.kubeconfig import find


def support_bundle(
    file: Annotated[Path, typer.Option("--file", metavar="FILE", help="What to write: .tar.gz.")] = Path(
        "crowetrade-support.tar.gz"
    ),
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Collect resources, what was made of them, events and logs in one file: of every namespace unless one is named.

    Secrets are not read, and what looks like a key is taken out of the rest; look into it before you hand it on.
    """
    if file.exists():
        raise WrongUse(f"{file} is there already: name another one with --file")
    count, missing = asyncio.run(_write(find(kubeconfig, context), namespace or None, file))
    typer.echo(f"{file}: {count} files")
    for line in missing:
        typer.echo(f"not in it: {line}", err=True)


async def _write(config: SingleConfig, namespace: str | None, file: Path) -> tuple[int, list[str]]:
    count = 0
    async with connect(config) as api:
        bundle = Bundle(api, namespace)
        with tarfile.open(file, "x:gz") as archive:
            async for one in bundle.files():
                content = one.text.encode()
                info = tarfile.TarInfo(f"crowetrade-support/{one.path}")
                info.size, info.mtime = len(content), int(time.time())
                archive.addfile(info, io.BytesIO(content))
                count += 1
    return count, bundle.missing
