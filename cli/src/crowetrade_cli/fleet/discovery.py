"""Which gateways and KillSwitches there are, by the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightkube.resources.core_v1 import Pod

from crowetrade_api.names import GATEWAY_APP, NAME_LABEL
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.errors import FORBIDDEN, Refused
from crowetrade_cli.fleet.api_server import ApiServer
from crowetrade_cli.fleet.gateways import Gateway, gateways_of


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything of one namespace, or of all where `namespace` is None."""

    namespace: str | None
    gateways: Sequence[Gateway]
    switches: Sequence[Mapping[str, Any]]


async def discover(api: ApiServer, namespace: str) -> Fleet:
    """Of all namespaces, or of this one for a user who may not look at all. Raises Failed."""
    try:
        return await _look(api, None)
    except Refused as error:
        if error.code != FORBIDDEN:
            raise
        return await _look(api, namespace)


async def _look(api: ApiServer, namespace: str | None) -> Fleet:
    venues = await api.objects(VenueConnection, namespace)
    switches = await api.objects(KillSwitch, namespace)
    strategies = await api.objects(Strategy, namespace)
    pods, labels = await _pods(api, namespace), await _namespace_labels(api)
    return Fleet(namespace, gateways_of(venues, pods, labels, strategies), switches)


async def _pods(api: ApiServer, namespace: str | None) -> Sequence[Pod]:
    """None where the user may not list pods: gateways are then found by the names of their Services."""
    try:
        return await api.pods(namespace, {NAME_LABEL: GATEWAY_APP})
    except Refused:
        return []


async def _namespace_labels(api: ApiServer) -> Mapping[str, Mapping[str, str]]:
    """None where the user may not list namespaces: a selector of namespaces then selects all."""
    try:
        return await api.namespace_labels()
    except Refused:
        return {}
