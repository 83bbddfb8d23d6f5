"""Images of the chart: each by its tag, or by its digest where it is given one."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from crowetrade_operator_tests.charts import of_kind, rendered

pytestmark = pytest.mark.integration
DIGEST = "sha256:" + "0a" * 32


def images(*values: str) -> dict[str, str]:
    """Image by workload and container, where identities are on, so that all are there; and, by its variable, those that
    the operator gives to agents and gateways."""
    found: dict[str, str] = {}
    for workload in of_kind(rendered("identity.source=Files", *values), "Deployment", "StatefulSet", "Job"):
        spec = workload["spec"]["template"]["spec"]
        containers: list[dict[str, Any]] = [*spec.get("initContainers", ()), *spec["containers"]]
        for container in containers:
            found[f"{workload['metadata']['name']}/{container['name']}"] = container["image"]
            variables = {item["name"]: item.get("value", "") for item in container.get("env", ())}
            found |= {name: value for name, value in variables.items() if name.endswith("_IMAGE")}
    return found


@pytest.mark.parametrize(
    ("value", "containers"),
    [
        (
            "operator.image",
            {
                "crowetrade-operator/operator",
                "crowetrade-authorizer/authorizer",
                "crowetrade-authorizer-keys/keys",
                "crowetrade-admission/admission",
                "crowetrade-uninstall/uninstall",
            },
        ),
        ("agents.image", {"AGENTS_IMAGE"}),
        ("gateway.image", {"GATEWAY_IMAGE", "crowetrade-risk-auditor/risk-auditor"}),
        ("nats.image", {"nats/nats"}),
        ("nats.certificateImage", {"nats/identity"}),
    ],
)
def test_a_digest_follows_the_tag_and_touches_no_other_image(value: str, containers: set[str]) -> None:
    by_tag, by_digest = images(), images(f"{value}.digest={DIGEST}")
    assert all("@" not in image for image in by_tag.values())
    changed = {name for name, image in by_digest.items() if image != by_tag[name]}
    assert changed == containers
    assert {by_digest[name] for name in changed} == {f"{by_tag[name]}@{DIGEST}" for name in containers}


def test_with_every_digest_given_no_image_is_named_by_its_tag_alone() -> None:
    values = ("operator.image", "agents.image", "gateway.image", "nats.image", "nats.certificateImage")
    vault = f"vault.image=docker.io/hashicorp/vault:1.19.0@{DIGEST}"
    found = images(*(f"{value}.digest={DIGEST}" for value in values), vault)
    assert {name for name, image in found.items() if not image.endswith(f"@{DIGEST}")} == set()


@pytest.mark.parametrize("digest", ["latest", "sha256:12", "0a" * 32])
@pytest.mark.parametrize(
    "value", ["agents.image.digest=", "nats.certificateImage.digest=", "vault.image=vault:1.19.0@"]
)
def test_what_is_no_digest_is_refused(value: str, digest: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered(f"{value}{digest}")
    assert value.partition("=")[0] in refused.value.stderr.replace("/", ".")


def test_strategies_do_not_get_the_image_of_gateways() -> None:
    found = images()
    assert found["AGENTS_IMAGE"].split(":")[0].endswith("/agents")
    assert found["GATEWAY_IMAGE"].split(":")[0].endswith("/gateway")
