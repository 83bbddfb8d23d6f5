"""What tests start from: the manifests and models of the API's tests, settings, and what gateways report."""

from __future__ import annotations

from typing import Any

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.gateway_config import rule_hash
from crowetrade_api_tests.samples import (
    UNSET,
    change,
    kill_manifest,
    kill_switch,
    limit,
    limit_manifest,
    stored,
    strategy,
    strategy_manifest,
    unreadable_kill_switch,
    unreadable_strategy,
    unreadable_venue,
    venue,
    venue_manifest,
)
from crowetrade_operator.settings import Settings

__all__ = [
    "SETTINGS",
    "UNSET",
    "account",
    "change",
    "gateway_status",
    "kill_manifest",
    "kill_switch",
    "limit",
    "limit_manifest",
    "stored",
    "strategy",
    "strategy_manifest",
    "unreadable_kill_switch",
    "unreadable_strategy",
    "unreadable_venue",
    "venue",
    "venue_manifest",
]

Object = dict[str, Any]
SETTINGS = Settings(operator_namespace="crowetrade-system", nats_url="nats://nats.crowetrade-system.svc:4222")


def account(name: str = "ema", **fields: Any) -> status_pb2.StrategyAccount:
    """A connected account under the sample's limit."""
    defaults: Object = {"strategy": name, "connected": True, "risk_limits": ["fx-desk"]}
    return status_pb2.StrategyAccount(**(defaults | fields))


def gateway_status(
    config: config_pb2.GatewayConfig | None = None,
    accounts: list[status_pb2.StrategyAccount] | None = None,
    namespace: str = "desk",
    name: str = "sim-fx",
    **fields: Any,
) -> status_pb2.GatewayStatus:
    """A gateway that is logged on and enforces the configuration."""
    defaults: Object = {
        "namespace": namespace,
        "venue": name,
        "pod": f"venue-{name}-0",
        "sent_unix_ns": 1,
        "session": status_pb2.SESSION_STATE_LOGGED_ON,
        "session_since_unix_ns": 1_700_000_000_000_000_000,
        "fencing_token": 1,
        "journal_sequence": 1000,
        "accounts": accounts or [],
    }
    if config is not None:
        defaults["config_revision"] = config.revision
        defaults["risk_acknowledgements"] = [
            status_pb2.RiskAcknowledgement(risk_limit=rule.risk_limit, uid=rule.uid, hash=rule_hash(rule))
            for rule in config.rules
        ]
    return status_pb2.GatewayStatus(**(defaults | fields))
