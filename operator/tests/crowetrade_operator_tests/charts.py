"""What the chart installs, as helm renders it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from crowetrade_operator_tests.servers import ROOT, program

Object = dict[str, Any]
SYSTEM_NAMESPACE = "crowetrade-system"
CHART = ROOT / "charts/crowetrade"


def rendered(*settings: str, served: tuple[str, ...] = (), chart: Path = CHART) -> list[Object]:
    """Every object of a release with these values, each written as helm's --set takes it, on an API server that serves
    these kinds beside those of Kubernetes 1.30."""
    command = [str(program("helm")), "template", "crowetrade", str(chart), "-n", SYSTEM_NAMESPACE]
    command += [part for setting in settings for part in ("--set", setting)]
    command += [part for kind in served for part in ("--api-versions", kind)]
    done = subprocess.run([*command, "--kube-version", "1.30.0"], capture_output=True, text=True, check=True)
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Those of these kinds."""
    return [item for item in objects if item["kind"] in kinds]
