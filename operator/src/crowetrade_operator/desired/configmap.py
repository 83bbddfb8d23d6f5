"""ConfigMaps: what gateways and agents read when they start, and the hashes that roll them when it changes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from crowetrade_api.files import (
    STRATEGY_FILE,
    VAULT_AGENT_FILE,
    VAULT_CA_FILE,
    VENUE_FILE,
    ListedInstrument,
    StrategyFile,
    VenueFile,
)
from crowetrade_api.names import INSTRUMENTS_ANNOTATION, gateway_address
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.desired.metadata import Owner, metadata
from crowetrade_operator.desired.vault import agent_config
from crowetrade_operator.settings import Settings, VaultDelivery


def strategy_content(
    strategy: Strategy, instruments: dict[tuple[str, str], ListedInstrument], settings: Settings
) -> dict[str, Any]:
    """strategy.json. `instruments` are those that the venues declare, by venue and symbol; all that the strategy
    trades must be there."""
    gateways = {
        venue: gateway_address(strategy.namespace_of(venue), venue, settings.cluster_domain)
        for venue in strategy.spec.venues
    }
    return StrategyFile.of(strategy, instruments, gateways).content()


def venue_content(venue: VenueConnection) -> dict[str, Any]:
    """venue.json."""
    return VenueFile.of(venue).content()


def config_hash(content: dict[str, Any]) -> str:
    """Hash of what a process reads."""
    text = json.dumps(content, sort_keys=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def strategy_config_map(strategy: Strategy, content: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The ConfigMap of a strategy. It says for which instruments, so that what the agents run is known after the spec
    has changed."""
    item = _config_map(strategy, {STRATEGY_FILE: json.dumps(content, indent=2, sort_keys=True)}, settings)
    item["metadata"]["annotations"] = {INSTRUMENTS_ANNOTATION: ",".join(sorted(map(str, strategy.instruments)))}
    return item


def venue_config_map(venue: VenueConnection, content: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The ConfigMap of a gateway, with Vault Agent's configuration where there is one."""
    data = {VENUE_FILE: json.dumps(content, indent=2, sort_keys=True)}
    keys = venue.spec.credentials.vault if venue.spec.credentials is not None else None
    if keys is not None and settings.vault_delivery == VaultDelivery.SIDECAR:
        data[VAULT_AGENT_FILE] = agent_config(keys, settings)
    return _config_map(venue, data, settings)


def _config_map(owner: Owner, data: dict[str, str], settings: Settings) -> dict[str, Any]:
    if settings.vault_ca:
        data[VAULT_CA_FILE] = settings.vault_ca
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(owner), "data": data}
