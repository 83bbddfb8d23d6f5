"""What the chart installs, as helm renders it."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml

from crowetrade_operator.settings import Settings, from_environment
from crowetrade_operator_tests.servers import ROOT, program

Object = dict[str, Any]
SYSTEM_NAMESPACE = "crowetrade-system"
CHART = ROOT / "charts/crowetrade"


def rendered(*settings: str, served: tuple[str, ...] = (), chart: Path = CHART) -> list[Object]:
    """Every object of a release with these values, each written as helm's --set takes it, on an API server that serves
    these kinds beside those of Kubernetes 1.30."""
    # Read again for each caller, who may change them. In C: in Python it takes twice as long as helm.
    objects = yaml.load_all(_text(settings, served, chart), Loader=yaml.CSafeLoader)
    return [item for item in objects if item]


@functools.cache
def _text(settings: tuple[str, ...], served: tuple[str, ...], chart: Path) -> str:
    command = [str(program("helm")), "template", "crowetrade", str(chart), "-n", SYSTEM_NAMESPACE]
    command += [part for setting in settings for part in ("--set", setting)]
    command += [part for kind in served for part in ("--api-versions", kind)]
    done = subprocess.run([*command, "--kube-version", "1.30.0"], capture_output=True, text=True, check=True)
    return done.stdout


def operator_settings(*values: str) -> Settings:
    """What the operator reads of its environment in a release with these values."""
    (deployment,) = [
        item for item in of_kind(rendered(*values), "Deployment") if item["metadata"]["name"] == "crowetrade-operator"
    ]
    return settings_of(deployment)


def settings_of(deployment: Object) -> Settings:
    """What the operator reads of the environment that its Deployment gives it."""
    environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    values = {item["name"]: item["value"] for item in environment if "value" in item}
    return from_environment(values | {"OPERATOR_NAMESPACE": SYSTEM_NAMESPACE})


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Those of these kinds."""
    return [item for item in objects if item["kind"] in kinds]
