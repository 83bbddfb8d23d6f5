"""Images of the chart: each by its tag, or by its digest where it is given one."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from crowetrade_operator_tests.charts import of_kind, rendered

pytestmark = pytest.mark.integration
DIGEST = "sha256:" + "0a" * 32


def images(*values: str) -> dict[str, str]:
    """Image by container, and those that the operator gives to agents and gateways."""
    found: dict[str, str] = {}
    for workload in of_kind(rendered(*values), "Deployment", "StatefulSet"):
        containers: list[dict[str, Any]] = workload["spec"]["template"]["spec"]["containers"]
        for container in containers:
            found[container["name"]] = container["image"]
            variables = {item["name"]: item.get("value", "") for item in container.get("env", ())}
            found |= {name: value for name, value in variables.items() if name.endswith("_IMAGE")}
    return found


@pytest.mark.parametrize(
    ("value", "containers"),
    [
        ("operator", {"operator"}),
        ("agents", {"AGENTS_IMAGE"}),
        ("gateway", {"GATEWAY_IMAGE", "risk-auditor"}),
        ("nats", {"nats"}),
    ],
)
def test_a_digest_follows_the_tag_and_touches_no_other_image(value: str, containers: set[str]) -> None:
    by_tag, by_digest = images(), images(f"{value}.image.digest={DIGEST}")
    assert all("@" not in image for image in by_tag.values())
    changed = {name for name, image in by_digest.items() if image != by_tag[name]}
    assert containers <= changed
    assert {by_digest[name] for name in changed} == {f"{by_tag[name]}@{DIGEST}" for name in containers}


@pytest.mark.parametrize("digest", ["latest", "sha256:12", "0a" * 32])
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered(f"agents.image.digest={digest}")
    assert "digest" in refused.value.stderr


def test_strategies_do_not_get_the_image_of_gateways() -> None:
    found = images()
    assert found["AGENTS_IMAGE"].split(":")[0].endswith("/agents")
    assert found["GATEWAY_IMAGE"].split(":")[0].endswith("/gateway")
