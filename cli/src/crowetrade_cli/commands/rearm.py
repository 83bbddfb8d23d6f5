"""`crowetrade rearm`: lets trade again what a KillSwitch has stopped."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from lightkube.config.kubeconfig import SingleConfig

from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_cli.commands.cluster import Context, Kubeconfig, Namespace
from crowetrade_cli.errors import WrongUse
from crowetrade_cli.fleet.api_server import connect
from crowetrade_cli.fleet.kubeconfig import find

REASON_LENGTH = 512


def rearm(
    name: Annotated[str, typer.Argument(help="The KillSwitch.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why trading may go on.")],
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Re-arm a KillSwitch, so that what it has stopped trades again. The API server alone decides whether you may.

    Another person than the one who engaged it has to, with the verb rearm on killswitches.
    """
    if not reason.strip() or len(reason) > REASON_LENGTH:
        raise WrongUse(f"--reason says in 1 to {REASON_LENGTH} characters why trading may go on")
    config = find(kubeconfig, context)
    typer.echo(asyncio.run(_rearm(config, namespace or config.namespace, name, reason)))


async def _rearm(config: SingleConfig, namespace: str, name: str, reason: str) -> str:
    async with connect(config) as api:
        switch = await api.get(KillSwitch, namespace, name)
        if not switch["spec"].get("engaged"):
            return f"KillSwitch {namespace}/{name} is not engaged."
        await api.merge(KillSwitch, namespace, name, {"spec": {"engaged": False, "reason": reason}})
    return f"KillSwitch {namespace}/{name} is re-armed. Gateways let go of it as they see that: crowetrade status"
