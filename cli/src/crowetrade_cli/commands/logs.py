"""`crowetrade logs`: what the pods of a Strategy or a gateway say."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from lightkube.config.kubeconfig import SingleConfig
from lightkube.resources.core_v1 import Pod

from crowetrade_api.names import AGENT_APP, GATEWAY_APP, NAME_LABEL, ROLE_LABEL, ROLES, STRATEGY_LABEL, VENUE_LABEL
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.commands.cluster import Context, Kubeconfig, Namespace
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.fleet.api_server import ApiServer, connect
from crowetrade_cli.fleet.kubeconfig import find
from crowetrade_cli.fleet.reference import Reference, reference


def logs(
    name: Annotated[str, typer.Argument(help="A Strategy (NAME or strategy/NAME) or a venue (venue/NAME).")],
    namespace: Namespace = "",
    role: Annotated[str, typer.Option(metavar="ROLE", help="Of a Split strategy: feature, signal, ...")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option(min=0, metavar="LINES", help="So many lines of each pod to begin with.")] = 200,
    since: Annotated[int | None, typer.Option(min=1, metavar="SECONDS", help="Only what is not older.")] = None,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Show the logs of its pods, each line with its pod where there are several."""
    wanted = reference(name, (Strategy, VenueConnection))
    if role and role not in ROLES:
        raise WrongUse(f"--role {role}: write one of {', '.join(ROLES)}")
    config = find(kubeconfig, context)
    asyncio.run(_logs(config, namespace or config.namespace, wanted, role, follow, tail, since))


async def _logs(
    config: SingleConfig, namespace: str, wanted: Reference, role: str, follow: bool, tail: int, since: int | None
) -> None:
    async with connect(config) as api:
        pods = await api.pods(namespace, _labels(wanted, role))
        if not pods:
            await api.get(wanted.kind, namespace, wanted.name)
            why = f"crowetrade describe {wanted.kind.SINGULAR}/{wanted.name} -n {namespace}"
            raise Failed(f"{wanted} has no pod in {namespace}: {why} says why")
        shown = [_follow(api, namespace, pod, len(pods) > 1, follow, tail, since) for pod in pods]
        if follow:
            await asyncio.gather(*shown)
        else:
            for one in shown:
                await one


def _labels(wanted: Reference, role: str) -> dict[str, str]:
    if wanted.kind is VenueConnection:
        return {NAME_LABEL: GATEWAY_APP, VENUE_LABEL: wanted.name}
    return {NAME_LABEL: AGENT_APP, STRATEGY_LABEL: wanted.name} | ({ROLE_LABEL: role} if role else {})


def _main_container(pod: Pod) -> str:
    """The one that is ours: helpers such as Vault Agent come after it."""
    containers: Sequence[object] = (pod.spec.containers if pod.spec else None) or []
    return str(getattr(containers[0], "name", "")) if containers else ""


async def _follow(
    api: ApiServer, namespace: str, pod: Pod, prefixed: bool, follow: bool, tail: int, since: int | None
) -> None:
    name = (pod.metadata.name if pod.metadata else None) or ""
    prefix = f"{name} " if prefixed else ""
    async for line in api.log(namespace, name, _main_container(pod), follow=follow, since=since, tail=tail):
        sys.stdout.write(f"{prefix}{line}\n")
        sys.stdout.flush()
