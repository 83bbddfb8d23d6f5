"""`crowetrade suspend`: stops trading of a Strategy or a VenueConnection; its state stays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer
from lightkube.config.kubeconfig import SingleConfig

from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.commands.cluster import Context, Kubeconfig, Namespace
from crowetrade_cli.fleet.api_server import connect
from crowetrade_cli.fleet.kubeconfig import find
from crowetrade_cli.fleet.reference import Reference, reference

Suspendable = Annotated[
    list[str], typer.Argument(metavar="NAME...", help="Strategies (NAME or strategy/NAME) and venues (venue/NAME).")
]


def suspend(names: Suspendable, namespace: Namespace = "", kubeconfig: Kubeconfig = "", context: Context = "") -> None:
    """Stop trading: open orders are cancelled, positions stay. Git may undo it: a KillSwitch is what nobody undoes."""
    set_suspend(names, True, namespace, find(kubeconfig, context))


def set_suspend(names: Sequence[str], wanted: bool, namespace: str, config: SingleConfig) -> None:
    """Writes spec.suspend of each, and says what became of it. Raises WrongUse before anything is written."""
    references = [reference(name, (Strategy, VenueConnection)) for name in names]
    asyncio.run(_set_suspend(references, wanted, namespace or config.namespace, config))


async def _set_suspend(references: Sequence[Reference], wanted: bool, namespace: str, config: SingleConfig) -> None:
    word = "suspended" if wanted else "resumed"
    async with connect(config) as api:
        for one in references:
            before = await api.get(one.kind, namespace, one.name)
            if bool((before.get("spec") or {}).get("suspend")) is wanted:
                typer.echo(f"{one.kind.__name__} {namespace}/{one.name} is {word} already.")
                continue
            await api.merge(one.kind, namespace, one.name, {"spec": {"suspend": wanted}})
            typer.echo(f"{one.kind.__name__} {namespace}/{one.name} is {word}.")
