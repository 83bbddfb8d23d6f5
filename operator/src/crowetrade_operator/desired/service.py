"""Services: order entry, control and metrics of a gateway, metrics of a strategy."""

from __future__ import annotations

from typing import Any

from crowetrade_api.names import CONTROL_PORT, GRPC_PORT, HTTP_PORT
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.desired.metadata import Owner, metadata, selector


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}


def service(owner: Owner) -> dict[str, Any]:
    """A gateway gets an address; a strategy a headless Service, for metrics only."""
    spec: dict[str, Any] = {"type": "ClusterIP", "selector": selector(owner), "ports": [_port("http", HTTP_PORT)]}
    if isinstance(owner, VenueConnection):
        spec["ports"] = [_port("grpc", GRPC_PORT), _port("control", CONTROL_PORT), *spec["ports"]]
    else:
        spec["clusterIP"] = "None"
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata(owner), "spec": spec}
