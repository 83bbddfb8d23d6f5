"""docs/troubleshooting.md: its commands can be typed as they are, and its reasons are those that resources have."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer
import yaml
from tests.repository.environments import ROOT
from tests.repository.pages import quoted, rows
from typer.core import TyperGroup

from crowetrade_api.reasons import EventReason, Reason, WaitingReason
from crowetrade_api_tests.samples import strategy_manifest, venue_manifest
from crowetrade_cli.main import application
from crowetrade_cli_tests.cluster import Cluster

PAGE = "troubleshooting.md"
TEXT = (ROOT / "docs" / PAGE).read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
KUBECTL = [line for line in LINES if line.startswith("kubectl ")]
CROWETRADE = [line for line in LINES if line.startswith("crowetrade ")]
SYSTEM = "crowetrade-system"
OF_ORDERS = {"ShareUnknown"}
"""Why one order was refused, which is no reason of a resource."""
DEVELOPMENT = {"NoIdentitySource", "PlainHttp"}
"""Warnings of an installation that works."""


def test_every_line_is_a_command_that_is_tried() -> None:
    assert sorted(LINES) == sorted(KUBECTL + CROWETRADE)
    assert min(len(KUBECTL), len(CROWETRADE)) > 5


def test_every_reason_exists_and_each_that_wants_a_person_is_there() -> None:
    found = list(rows(PAGE))
    told = {word for row in found for word in quoted(row.cells["what it says"]) if re.fullmatch(r"[A-Z]\w+", word)}
    known = {str(item) for words in (Reason, EventReason, WaitingReason) for item in words}
    assert told - known == OF_ORDERS
    assert {str(item) for item in Reason if item.remedy} - told == DEVELOPMENT
    assert all(row.cells["remedy"] for row in found)


@pytest.mark.parametrize("line", CROWETRADE)
def test_a_crowetrade_command_takes_these_arguments(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    group = typer.main.get_command(application())
    assert isinstance(group, TyperGroup)
    group.commands[name].make_context(name, arguments)


@pytest.mark.integration
def test_kubectl_commands_do_what_they_say(cluster: Cluster) -> None:
    here = cluster.namespace
    cluster.apply(strategy_manifest("ema", here), venue_manifest("sim-fx", here))
    cluster.kubectl("create", "namespace", SYSTEM)
    cluster.kubectl("apply", "-n", SYSTEM, "-f", "-", stdin=yaml.safe_dump_all(_of_the_chart()))
    for line in KUBECTL:
        cluster.kubectl(*(here if part == "desk" else part for part in shlex.split(line)[1:]))
    ema, venue = cluster.get("strategy", "ema")["metadata"], cluster.get("venueconnection", "sim-fx")["metadata"]
    assert ema["annotations"]["trading.crowetrade.io/force-delete"] == "true"
    cleared = venue["annotations"]["trading.crowetrade.io/clear-halt"]
    assert cleared == "maxDailyLoss/ema@sim-fx-7: the limit was a mistake"
    assert "finalizers" not in ema


def _of_the_chart() -> list[dict[str, Any]]:
    """What the page looks at in the chart's namespace."""
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "crowetrade-operator", "namespace": SYSTEM},
    }
    labels = {"app.kubernetes.io/name": "nats"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "nats", "image": "nats"}]}}
    nats = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "nats", "namespace": SYSTEM},
        "spec": {"serviceName": "nats", "selector": {"matchLabels": labels}, "template": pod},
    }
    return [lease, nats]
