"""`crowetrade clear-breach`: lets trade again what a breached limit has stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated

import typer
from lightkube.config.kubeconfig import SingleConfig

from crowetrade_api.names import CLEAR_BREACH_ANNOTATION
from crowetrade_api.v1alpha1.meta import read
from crowetrade_api.v1alpha1.risklimit import SHOWN_BREACHES, RiskLimit, UnreadableLimit
from crowetrade_cli.commands.cluster import Context, Kubeconfig, Namespace
from crowetrade_cli.errors import CONFLICT, Failed, Refused, WrongUse
from crowetrade_cli.fleet.api_server import ApiServer, connect
from crowetrade_cli.fleet.kubeconfig import find

REASON_LENGTH = 512
TRIES = 5


def clear_breach(
    risk_limit: Annotated[str, typer.Argument(metavar="RISKLIMIT", help="The RiskLimit.")],
    breach: Annotated[str, typer.Argument(metavar="ID", help="The breach, as crowetrade status shows it.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why trading may go on.")],
    namespace: Namespace = "",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Clear a breach, so that what it has stopped trades again. Limits on losses then start from what is now."""
    if not reason.strip() or len(reason) > REASON_LENGTH or ";" in reason:
        raise WrongUse(f"--reason says in 1 to {REASON_LENGTH} characters, without a semicolon, why trading may go on")
    config = find(kubeconfig, context)
    typer.echo(asyncio.run(_clear(config, namespace or config.namespace, risk_limit, breach, reason.strip())))


async def _clear(config: SingleConfig, namespace: str, name: str, breach: str, reason: str) -> str:
    async with connect(config) as api:
        for tries_left in reversed(range(TRIES)):
            try:
                listed = await _annotate(api, namespace, name, breach, reason)
            except Refused as error:
                if error.code != CONFLICT or not tries_left:
                    raise
            else:
                break
    if not listed:
        return (
            f"RiskLimit {namespace}/{name} may have more breaches than its status lists, and {breach} is not listed: "
            "if it is one, it is cleared; if not, nothing is"
        )
    return f"Breach {breach} of RiskLimit {namespace}/{name} is cleared. Gateways take it over: crowetrade status"


async def _annotate(api: ApiServer, namespace: str, name: str, breach: str, reason: str) -> bool:
    """Whether the status lists the breach."""
    limit = read(await api.get(RiskLimit, namespace, name), RiskLimit, UnreadableLimit)
    if isinstance(limit, UnreadableLimit):
        raise Failed(f"RiskLimit {namespace}/{name} cannot be read ({limit.problem}): correct it first")
    breached = [item.id for item in limit.status.breached]
    lists_all = len(breached) < SHOWN_BREACHES
    if breach not in breached and lists_all:
        listed = ", ".join(breached) or "none"
        raise Failed(f"RiskLimit {namespace}/{name} has no breach {breach} to be cleared (there are: {listed})")
    # Those that are done are left out, so that the annotation does not grow without end.
    open_still = {key: why for key, why in limit.cleared_breaches.items() if key in breached or not lists_all}
    metadata = {
        "resourceVersion": limit.metadata.resource_version,
        "annotations": {CLEAR_BREACH_ANNOTATION: written(open_still | {breach: reason})},
    }
    await api.merge(RiskLimit, namespace, name, {"metadata": metadata})
    return breach in breached


def written(cleared: Mapping[str, str]) -> str:
    """The annotation's text."""
    return "; ".join(f"{breach}: {reason}" for breach, reason in cleared.items())
