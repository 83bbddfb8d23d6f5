"""Every pair of the chart's switches is rendered together once: whatever two of them are set to, helm lint finds
nothing, no two objects share a name, what an object refers to is there, and kubeconform takes it. A fault that needs
three switches may be missed."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade_operator_tests.charts import CHART, SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.integration.test_chart_objects import conforms, linted
from crowetrade_operator_tests.servers import ApiServer

pytestmark = pytest.mark.integration
Object = dict[str, Any]
Settings = tuple[str, ...]
OPERATOR = "crowetrade-operator"
VAULT = "vault.address=https://vault.vault.svc:8200"
SWITCHES: tuple[tuple[Settings, ...], ...] = (
    (
        (),
        (VAULT, "identity.source=Vault"),
        ("identity.source=CertManager", "identity.certManager.issuerRef.name=ca"),
        ("identity.source=Files",),
    ),
    ((), ("operator.logLevel=DEBUG",), ("operator.logLevel=WARNING",), ("operator.logLevel=ERROR",)),
    ((), ("operator.namespaces={desk-a,desk-b}",), ("operator.shards={fx,rates}",)),
    ((), ("nats.replicas=3",), ("nats.enabled=false", "nats.url=nats://bus.example:4222", "nats.cidrs={10.2.0.0/16}")),
    ((), ("nats.persistence.storageClassName=fast",), ("nats.persistence.enabled=false",)),
    ((), (VAULT, "vault.roles=Verify"), (VAULT, "vault.roles=Manage")),
    ((), ("crds.install=false",)),
    ((), ("crds.keep=false",)),
    ((), ("uninstall.releaseFinalizers=false",)),
    ((), ("operator.replicas=1",)),
    ((), ("operator.podDisruptionBudget=false",)),
    ((), ("operator.networkPolicy.enabled=false",)),
    ((), ("operator.networkPolicy.defaultDeny=false",)),
    ((), ("operator.networkPolicy.apiServer.cidrs={10.0.0.1/32,fd00::1/128}",)),
    ((), ("authorizer.replicas=1",)),
    ((), ("authorizer.podDisruptionBudget=false",)),
    ((), ("authorizer.networkPolicy.enabled=false",)),
    ((), ("audit.recordRequests=false",)),
    ((), ("riskAuditor.enabled=false",)),
    ((), ("riskAuditor.networkPolicy.enabled=false",)),
    ((), ("vault.delivery=Injector",)),
    ((), ("vault.caCertificate=-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----",)),
    ((), ("vault.serverName=vault.example", "vault.namespace=trading")),
    ((), ("vault.allowHttp=true", "vault.cidrs={10.1.0.0/16}")),
    ((), ("nats.networkPolicy.enabled=false",)),
    ((), ("nats.antiAffinity=Preferred",)),
    ((), ("monitoring.podMonitor.enabled=true",)),
    ((), ("monitoring.prometheusRule.enabled=true",)),
    ((), ("agents.imagePullSecrets={models}", "gateway.imagePullSecrets={adapters}")),
    ((), ("imagePullSecrets={registry}", "dns.cidrs={169.254.20.10/32}", "monitoring.namespaceLabels.team=sre")),
)
"""Values of each switch; the first is what the chart has by itself. What excludes each other is one switch."""
NOT_SERVED = ("Certificate", "PodMonitor", "PrometheusRule")
"""Kinds of others, whose schemas the API server does not have."""


def all_pairs() -> Iterator[Settings]:
    """Combinations in which every two values of two switches meet. Each begins with a pair that has not met, and takes
    the value of every other switch that meets most of the others for the first time."""
    values = [[(switch, value) for value in range(len(SWITCHES[switch]))] for switch in range(len(SWITCHES))]
    apart = {pair for one, other in itertools.combinations(values, 2) for pair in itertools.product(one, other)}
    while apart:
        chosen = dict(min(apart))
        for switch, choices in enumerate(values):
            if switch not in chosen:
                chosen[switch] = max(
                    choices, key=lambda choice: sum(tuple(sorted((choice, one))) in apart for one in chosen.items())
                )[1]
        apart -= set(itertools.combinations(sorted(chosen.items()), 2))
        yield tuple(dict.fromkeys(item for switch in sorted(chosen) for item in SWITCHES[switch][chosen[switch]]))


COMBINATIONS = list(all_pairs())
every_combination = pytest.mark.parametrize("settings", COMBINATIONS, ids=range(len(COMBINATIONS)))


def test_every_two_values_of_two_switches_meet() -> None:
    for one, other in itertools.combinations(SWITCHES, 2):
        for values in itertools.product(one, other):
            wanted = {item for settings in values for item in settings}
            assert any(wanted <= set(settings) for settings in COMBINATIONS), values


def test_every_choice_of_the_chart_is_a_switch() -> None:
    """A boolean or an enumeration of values.schema.json in another value than the chart's own."""
    named = {setting for values in SWITCHES for settings in values for setting in settings}
    schema = json.loads((CHART / "values.schema.json").read_text())
    choices = {path: values for path, values in _choices(schema["properties"]) if not path.endswith("pullPolicy")}
    assert len(choices) > 20
    left_out = {path: [value for value in values if f"{path}={value}" not in named] for path, values in choices.items()}
    assert {path: values for path, values in left_out.items() if len(values) != 1} == {}


def _choices(properties: Object, prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    for name, schema in properties.items():
        if schema.get("type") == "boolean":
            yield f"{prefix}{name}", ["true", "false"]
        elif "enum" in schema:
            yield f"{prefix}{name}", schema["enum"]
        yield from _choices(schema.get("properties", {}), f"{prefix}{name}.")


@every_combination
def test_helm_lint_finds_nothing(settings: Settings) -> None:
    done = linted(CHART, *settings)
    assert (done.returncode, done.stdout) == (0, ""), (settings, done.stderr)


@every_combination
def test_no_two_objects_share_a_name(settings: Settings) -> None:
    names = Counter(map(_address, rendered(*settings)))
    assert [name for name, number in names.items() if number > 1] == [], settings


@every_combination
def test_what_an_object_refers_to_is_there(settings: Settings) -> None:
    objects = rendered(*settings)
    there = set(map(_address, objects)) | _made_by_others(objects, settings)
    assert [(_address(item), missing) for item in objects for missing in _references(item) - there] == [], settings
    workloads = of_kind(objects, "Deployment", "StatefulSet", "Job")
    assert [(_address(item), fault) for item in workloads for fault in _faults(item)] == [], settings
    pods = [item["spec"]["template"] for item in workloads]
    labels = [pod["metadata"]["labels"].items() for pod in pods]
    for item in of_kind(objects, "Service", "PodDisruptionBudget", "NetworkPolicy"):
        wanted = _selector(item)
        assert not wanted or any(wanted <= one for one in labels), (settings, _address(item), "selects no pod")
    for item in of_kind(objects, "Service"):
        ports = {port.get("name") for pod in pods for one in _containers(pod["spec"]) for port in one.get("ports", ())}
        assert {port["targetPort"] for port in item["spec"]["ports"]} <= ports, (settings, _address(item))


def _address(item: Object) -> tuple[str, str, str]:
    return item["kind"], item["metadata"].get("namespace", ""), _name(item)


def _made_by_others(objects: list[Object], settings: Settings) -> set[tuple[str, str, str]]:
    """Secrets: by cert-manager from a Certificate of the chart, by the Jobs that make keys, and by
    people with the source Files, for each account."""
    names = [item["spec"]["secretName"] for item in of_kind(objects, "Certificate")]
    makers = {"crowetrade-authorizer-keys": "crowetrade-authorizer", "crowetrade-admission": "crowetrade-admission"}
    names += [makers[job] for job in map(_name, of_kind(objects, "Job")) if job in makers]
    if "identity.source=Files" in settings:
        names += [f"{_name(item)}-identity" for item in of_kind(objects, "ServiceAccount")]
    return {("Secret", SYSTEM_NAMESPACE, name) for name in names}


def _references(item: Object) -> set[tuple[str, str, str]]:
    kind, namespace, _ = _address(item)
    spec = item.get("spec", {})
    found: set[tuple[str, str, str]] = set()
    if kind in ("Deployment", "StatefulSet", "Job"):
        found |= {(of, namespace, name) for of, name in _of_pod(spec["template"]["spec"])}
    if kind == "StatefulSet":
        found.add(("Service", namespace, spec["serviceName"]))
    if kind in ("RoleBinding", "ClusterRoleBinding"):
        role = item["roleRef"]
        found.add((role["kind"], namespace if role["kind"] == "Role" else "", role["name"]))
        accounts = [subject for subject in item["subjects"] if subject["kind"] == "ServiceAccount"]
        found |= {("ServiceAccount", subject["namespace"], subject["name"]) for subject in accounts}
    if kind.endswith("AdmissionPolicyBinding"):
        found.add((kind.removesuffix("Binding"), "", spec["policyName"]))
    return found


def _of_pod(pod: Object) -> Iterator[tuple[str, str]]:
    yield "ServiceAccount", pod["serviceAccountName"]
    sources = [
        source for volume in pod["volumes"] for source in (volume, *volume.get("projected", {}).get("sources", ()))
    ]
    for source in sources:
        if "configMap" in source:
            yield "ConfigMap", source["configMap"]["name"]
        if "secret" in source:
            yield "Secret", source["secret"].get("secretName") or source["secret"]["name"]
    variables = [item.get("valueFrom", {}) for container in _containers(pod) for item in container.get("env", ())]
    yield from (("Secret", item["secretKeyRef"]["name"]) for item in variables if "secretKeyRef" in item)
    yield from (("ConfigMap", item["configMapKeyRef"]["name"]) for item in variables if "configMapKeyRef" in item)


def _containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def _faults(workload: Object) -> Iterator[str]:
    """Within its pod: what is there twice, mounts without a volume, probes of a port that is not there."""
    pod = workload["spec"]["template"]["spec"]
    volumes = [volume["name"] for volume in pod["volumes"]] + [_name(claim) for claim in _claims(workload)]
    yield from _twice(volumes)
    for container in _containers(pod):
        mounts = container.get("volumeMounts", [])
        yield from _twice([item["name"] for item in container.get("env", ())])
        yield from _twice([mount["mountPath"] for mount in mounts])
        yield from {mount["name"] for mount in mounts} - set(volumes)
        ports = {port["name"] for port in container.get("ports", ())}
        probes = [container.get(f"{name}Probe", {}).get("httpGet") for name in ("startup", "readiness", "liveness")]
        yield from {probe["port"] for probe in probes if probe} - ports


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _claims(workload: Object) -> list[Object]:
    return workload["spec"].get("volumeClaimTemplates") or []


def _twice(names: list[str]) -> list[str]:
    return [name for name, number in Counter(names).items() if number > 1]


def _selector(item: Object) -> Any:
    spec = item["spec"]
    found = spec.get("podSelector") or spec.get("selector") or {}
    return found.get("matchLabels", {} if "podSelector" in spec else found).items()


@every_combination
def test_crds_are_kept_unless_they_are_not_to_be(settings: Settings) -> None:
    crds = of_kind(rendered(*settings), "CustomResourceDefinition")
    assert len(crds) == (0 if "crds.install=false" in settings else 4)
    kept = "crds.keep=false" not in settings
    for item in crds:
        assert (item["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep") == kept


@every_combination
def test_the_operator_has_its_replicas_and_the_name_of_vaults_server(settings: Settings) -> None:
    operators = [item for item in of_kind(rendered(*settings), "Deployment") if _name(item).startswith(OPERATOR)]
    assert {item["spec"]["replicas"] for item in operators} == {1 if "operator.replicas=1" in settings else 2}
    names = ["vault.example"] if "vault.serverName=vault.example" in settings else []
    for item in operators:
        variables = item["spec"]["template"]["spec"]["containers"][0]["env"]
        assert [one["value"] for one in variables if one["name"] == "VAULT_TLS_SERVER_NAME"] == names


@every_combination
def test_the_authorizer_is_there_with_identities_and_has_what_its_values_say(settings: Settings) -> None:
    objects = [item for item in rendered(*settings) if _name(item) == "crowetrade-authorizer"]
    identified = any(item.startswith("identity.source=") for item in settings)
    replicas = [item["spec"]["replicas"] for item in of_kind(objects, "Deployment")]
    assert replicas == ([1 if "authorizer.replicas=1" in settings else 2] if identified else [])
    for kind, switch in (("PodDisruptionBudget", "podDisruptionBudget"), ("NetworkPolicy", "networkPolicy.enabled")):
        wanted = identified and f"authorizer.{switch}=false" not in settings
        assert len(of_kind(objects, kind)) == wanted


@every_combination
def test_the_bus_has_a_claim_of_the_storage_class(settings: Settings) -> None:
    claims = [claim for item in of_kind(rendered(*settings), "StatefulSet") for claim in _claims(item)]
    kept = not {"nats.enabled=false", "nats.persistence.enabled=false"} & set(settings)
    wanted = "fast" if "nats.persistence.storageClassName=fast" in settings else None
    assert [claim["spec"].get("storageClassName") for claim in claims] == [wanted] * kept


def test_kubeconform_takes_them_all(api_server: ApiServer, tmp_path: Path) -> None:
    every = {json.dumps(item): item for settings in COMBINATIONS for item in rendered(*settings)}
    objects = [item for item in every.values() if item["kind"] not in NOT_SERVED]
    assert set(conforms(api_server, tmp_path, objects)) == {""}
