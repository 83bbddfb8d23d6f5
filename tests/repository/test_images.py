"""What is in the images: Dockerfiles and bills of materials agree, other people's images take digests, advisories."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from tools import pin_images, sbom
from tools.advisories import Report, joined, judge
from tools.localcluster.versions import BASE_IMAGE

from tests.repository.environments import ROOT

IMAGES = sorted(file.name.partition(".")[0] for file in (ROOT / "images").glob("*.Dockerfile"))
DIGEST = "sha256:" + "0a" * 32


def _dockerfile(image: str) -> str:
    return (ROOT / "images" / f"{image}.Dockerfile").read_text()


def _bill(image: str) -> dict[str, Any]:
    bill: dict[str, Any] = json.loads((ROOT / sbom.FOLDER / f"{image}.cdx.json").read_text())
    return bill


def _listed(image: str) -> dict[str, str]:
    return {item["name"]: item["version"] for item in _bill(image)["components"] if item["type"] == "library"}


@pytest.mark.parametrize("image", IMAGES)
def test_a_bill_is_cyclonedx_and_refers_to_what_it_lists(image: str) -> None:
    bill = _bill(image)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is None
    references = {item["bom-ref"] for item in [*bill["components"], bill["metadata"]["component"]]}
    assert {item["ref"] for item in bill["dependencies"]} == references
    reached, new = set[str](), {image}
    needs = {item["ref"]: set(item.get("dependsOn", ())) for item in bill["dependencies"]}
    while new:
        reached |= new
        new = set().union(*(needs[name] for name in new)) - reached
    assert reached == references, "something that nothing asks for"


@pytest.mark.parametrize("image", IMAGES)
def test_a_bill_lists_what_the_dockerfile_installs(image: str) -> None:
    text = _dockerfile(image)
    (requirements,) = re.findall(r"--require-hashes -r requirements/(\w+)\.txt$", text, re.MULTILINE)
    pins = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / f"requirements/{requirements}.txt").read_text(), re.MULTILINE)
    )
    listed = _listed(image)
    ours = {name for name in listed if name.startswith("crowetrade-")}
    assert listed.keys() - ours == pins.keys()
    copied = re.findall(r"^COPY (\w+)/src ", text, re.MULTILINE)
    assert ours == {f"crowetrade-{'contracts' if package == 'proto' else package}" for package in copied}
    assert f"images/sbom/{image}.cdx.json" in text


def test_a_strategy_ships_no_gateway_and_none_of_its_libraries() -> None:
    assert {"crowetrade-gateway", "pyarrow", "exchange-calendars"} <= _listed("gateway").keys()
    assert not {"crowetrade-gateway", "crowetrade-operator", "pyarrow", "exchange-calendars"} & _listed("agents").keys()


LINES = f"""numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{"2" * 64}
    # via
    #   exchange-calendars
    #   pandas
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:{"3" * 64}
    # via pandas
nats-py==2.16.0 \\
    --hash=sha256:{"4" * 64}
    # via -r agents.in
"""


def test_a_pin_has_its_hashes_and_who_asks_for_it_and_is_for_the_python_of_the_images() -> None:
    assert list(sbom.pinned(LINES)) == [
        sbom.Pinned("numpy", "2.4.6", ("1" * 64, "2" * 64), ("exchange-calendars", "pandas")),
        sbom.Pinned("nats-py", "2.16.0", ("4" * 64,), ()),
    ]


@pytest.mark.parametrize("file", [file for file in pin_images.FILES if file.endswith("Dockerfile")])
def test_every_stage_starts_from_the_one_base_or_from_ours(file: str) -> None:
    text = (ROOT / file).read_text()
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", text, re.MULTILINE)
    assert base.partition("@")[0] == BASE_IMAGE
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) <= {"${PYTHON_IMAGE}", "${AGENTS_IMAGE}", "agents"}


def test_every_dockerfile_is_among_those_that_get_a_digest() -> None:
    files = {
        str(file.relative_to(ROOT)) for folder in ("images", "cli/src") for file in (ROOT / folder).rglob("*Dockerfile")
    }
    assert files <= set(pin_images.FILES)


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        (
            "ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim\n",
            f"ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim@{DIGEST}\n",
        ),
        ("image: docker.io/hashicorp/vault:1.19.0\n", f"image: docker.io/hashicorp/vault:1.19.0@{DIGEST}\n"),
        (
            f"image: docker.io/hashicorp/vault:1.19.0@sha256:{'1' * 64}\n",
            f"image: docker.io/hashicorp/vault:1.19.0@{DIGEST}\n",
        ),
        (
            'image: {repository: docker.io/library/nats, tag: 2.15.1, digest: "", pullPolicy: Always}\n',
            f'image: {{repository: docker.io/library/nats, tag: 2.15.1, digest: "{DIGEST}", pullPolicy: Always}}\n',
        ),
        (
            f'image: {{repository: docker.io/library/nats, tag: 2.15.1, digest: "sha256:{"1" * 64}"}}\n',
            f'image: {{repository: docker.io/library/nats, tag: 2.15.1, digest: "{DIGEST}"}}\n',
        ),
        ('image: {repository: docker.io/crowetrade/agents, tag: 0.1.0, digest: ""}\n',) * 2,
    ],
)
def test_a_digest_is_written_beside_the_tag_of_what_is_not_ours(text: str, pinned: str) -> None:
    assert pin_images.pin(text, lambda image: DIGEST) == pinned
    assert pin_images.without_digest(pinned) == set()


def test_the_images_of_others_are_all_found() -> None:
    without = {
        image: pin_images.without_digest(re.sub(r"@?sha256:[0-9a-f]{64}", "", (ROOT / image).read_text()))
        for image in pin_images.FILES
    }
    assert {name.partition(":")[0] for name in without.pop("charts/crowetrade/values.yaml")} == {
        "docker.io/library/nats",
        "docker.io/hashicorp/vault",
    }
    assert set(map(frozenset, without.values())) == {frozenset({BASE_IMAGE})}


CLEAN = {"name": "a", "version": "1", "vulns": []}
FLAWED = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found: c (1)"}


@pytest.mark.parametrize(
    ("packages", "says", "code", "code_when_required"),
    [
        ([CLEAN], "1 packages checked, no vulnerability is known", 0, 0),
        ([CLEAN, FLAWED], "2 packages checked, 1 vulnerabilities", 1, 1),
        ([CLEAN, SKIPPED], "NOT CHECKED: 1 packages, 1 were (Dependency not found: c (1))", 0, 1),
        ([FLAWED, SKIPPED], "NOT CHECKED: 1 packages, 1 were (Dependency not found: c (1))", 1, 1),
        ([SKIPPED], "NOT CHECKED: 1 packages, 0 were (Dependency not found: c (1))", 0, 1),
        ([], "NOT CHECKED: all packages, 0 were ()", 0, 1),
    ],
)
def test_a_package_that_the_service_does_not_know_is_not_checked(
    packages: list[dict[str, Any]], says: str, code: int, code_when_required: int
) -> None:
    report = judge(json.dumps({"dependencies": packages, "fixes": []}), "No known vulnerabilities found")
    assert report.sentence == f"advisories: {says}"
    assert (report.exit_code(False), report.exit_code(True)) == (code, code_when_required)
    assert report.vulnerable == (("b 2: CVE-1, mended in 3",) if FLAWED in packages else ())


@pytest.mark.parametrize("answer", ["", "Traceback", "[]", "{}", "null"])
def test_no_answer_is_no_success(answer: str) -> None:
    report = judge(answer, "first\nno route to host\n")
    assert report.sentence == "advisories: NOT CHECKED: all packages, 0 were (no route to host)"
    both = joined([Report((), 5, 0), report])
    assert (both.complete, both.exit_code(True)) == (False, 1)
    assert "no route to host" in both.sentence
