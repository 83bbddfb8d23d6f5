"""Alert rules name metrics that exist, and say what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from crowetrade_agents import metrics as agents_metrics
from crowetrade_operator import metrics as operator_metrics
from crowetrade_operator.authorizer import metrics as authorizer_metrics
from crowetrade_process.audit import metrics as audit_metrics
from crowetrade_process.identity import metrics as identity_metrics
from tests.repository.environments import ROOT

REGISTERING = (agents_metrics, audit_metrics, authorizer_metrics, identity_metrics, operator_metrics)
"""Modules that register what they define."""
FILES = sorted((ROOT / "monitoring" / "alerts").glob("*.yaml"))
RULES = [
    pytest.param(rule, id=rule["alert"])
    for file in FILES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]


def _exported() -> set[str]:
    """Names as Prometheus sees them."""
    return {
        name
        for registry in (REGISTRY, operator_metrics.REGISTRY)
        for family in registry.collect()
        for name in (family.name, f"{family.name}_total" if family.type == "counter" else family.name)
    }


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_names_metrics_that_exist_and_labels_that_they_have(rule: dict[str, Any]) -> None:
    named = re.findall(r"crowetrade_[a-z_]+", rule["expr"])
    assert named
    assert set(named) <= _exported()


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"]
    assert len(rule["annotations"]["description"]) > 60


def test_there_are_rules() -> None:
    assert RULES
