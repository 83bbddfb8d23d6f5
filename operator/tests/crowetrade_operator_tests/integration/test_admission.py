"""The command line's verdict on manifests against a real API server's: the same one, in the same words."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crowetrade_api.names import GROUP, VERSION
from crowetrade_cli.manifests.admission import Admitted, Refused, judge, judge_by
from crowetrade_cli.manifests.field_errors import FieldError, sentence
from crowetrade_cli.manifests.go_text import whole_numbers
from crowetrade_cli.manifests.reading import read
from crowetrade_operator.cluster.client import connect
from crowetrade_operator.cluster.resources import CUSTOM, NAMESPACES, ApiResource
from crowetrade_operator.errors import Conflict
from crowetrade_operator_tests.conftest import CRDS, install_crds
from crowetrade_operator_tests.integration.test_crd_server import ACCEPTED, REFUSED
from crowetrade_operator_tests.samples import UNSET, change, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import TOKEN, ApiServer, program
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
NAMESPACE = "desk"
WRITTEN_BY_THE_SERVER = ("uid", "creationTimestamp", "generation", "managedFields", "resourceVersion")
PLURALS = {resource.kind: resource.plural for resource in CUSTOM} | {"Probe": "probes"}

PROBE_SCHEMA: Object = {
    "description": "What our kinds do not use, or not everywhere.",
    "type": "object",
    "required": ["spec"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "pattern": r"^[a-z]\d+$", "minLength": 2, "maxLength": 5},
                "ratio": {"type": "number", "minimum": 0, "maximum": 10},
                "level": {"type": "integer", "enum": [1, 2, 5]},
                "maybe": {"type": "string", "nullable": True, "default": "unset"},
                "few": {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": {"type": "integer"},
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "ports": {
                    "type": "array",
                    "maxItems": 8,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name", "number"],
                    "items": {
                        "type": "object",
                        "required": ["name", "number"],
                        "properties": {
                            "name": {"type": "string", "maxLength": 9},
                            "number": {"type": "integer", "default": 1},
                        },
                    },
                },
                "low": {"type": "integer"},
                "high": {
                    "type": "integer",
                    "x-kubernetes-validations": [
                        {"rule": "self < 100"},
                        {"rule": "self != 13", "reason": "FieldValueForbidden", "message": "  no bad luck  "},
                        {"rule": "self != 14", "reason": "FieldValueDuplicate", "message": "unused"},
                    ],
                },
            },
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.low) || !has(self.high) || self.low <= self.high",
                    "messageExpression": "self.low > 5 ? ' low is far above high' : 'low is above high'",
                    "fieldPath": ".low",
                },
                {
                    "rule": "!has(self.ratio) || has(self.code)",
                    "reason": "FieldValueRequired",
                    "message": "code goes with ratio",
                    "fieldPath": ".code",
                },
                {"rule": "!has(self.few) || self.few.all(k, k != 'bad')", "messageExpression": "''", "message": "bad"},
            ],
        },
    },
}
PROBE_CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"probes.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "Probe", "listKind": "ProbeList", "plural": "probes", "singular": "probe"},
        "versions": [
            {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": PROBE_SCHEMA}},
        ],
    },
}


@dataclass(frozen=True)
class Answer:
    """The server's: the object as it would be stored, or its refusal."""

    admitted: Object | None
    message: str
    causes: tuple[FieldError, ...]


class Server:
    """Creates objects of our kinds, for nobody: with dryRun and strict validation, as kubectl does."""

    def __init__(self, api_server: ApiServer) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._connection = http.client.HTTPSConnection(api_server.url.removeprefix("https://"), context=context)

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def judge(self, manifest: Object) -> Answer:
        """The answer to a create request."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/{PLURALS[manifest['kind']]}"
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        query = "?dryRun=All&fieldValidation=Strict"
        self._connection.request("POST", path + query, json.dumps(manifest), headers)
        response = self._connection.getresponse()
        body = json.loads(response.read())
        if response.status != 201:
            causes = (body.get("details") or {}).get("causes") or []
            fields = tuple(FieldError(item.get("field", ""), item["reason"], item["message"]) for item in causes)
            return Answer(None, body["message"], fields)
        body["metadata"] = {key: value for key, value in body["metadata"].items() if key not in WRITTEN_BY_THE_SERVER}
        return Answer(body, "", ())


@pytest.fixture(scope="module")
def server(api_server: ApiServer) -> Iterator[Server]:
    """The API server, with our kinds and one of the test's own."""
    asyncio.run(_prepare(api_server))
    client = Server(api_server)
    yield client
    client.close()


async def _prepare(api_server: ApiServer) -> None:
    cluster = await connect(str(api_server.kubeconfig))
    try:
        await install_crds(cluster)
        await cluster.create(CRDS, "", PROBE_CRD)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        with contextlib.suppress(Conflict):  # other tests use the name at the same server
            await cluster.create(NAMESPACES, "", namespace)

        async def served() -> bool:
            found = await cluster.get(CRDS, "", PROBE_CRD["metadata"]["name"])
            conditions = {item["type"]: item["status"] for item in (found.get("status", {}).get("conditions") or [])}
            if conditions.get("Established") != "True":
                return False
            await cluster.list(ApiResource(GROUP, VERSION, "probes", "Probe"))
            return True

        await until("probes to be served", served)
    finally:
        await cluster.close()


def assert_same(server: Server, manifest: Object) -> bool:
    """Compares the two verdicts; returns whether the manifest was accepted."""
    before = copy.deepcopy(manifest)
    ours = judge_by(PROBE_SCHEMA, manifest, NAMESPACE) if manifest["kind"] == "Probe" else judge(manifest, NAMESPACE)
    assert manifest == before
    theirs = server.judge(manifest)
    if theirs.admitted is not None:
        assert ours == Admitted(theirs.admitted)
        return True
    assert isinstance(ours, Refused), theirs.message
    if not theirs.causes:
        assert ours.message == theirs.message
        return False
    # The server's order is another one each time: with its order, our message would be the same, letter for letter.
    assert sorted(map(str, ours.causes)) == sorted(map(str, theirs.causes))
    assert sorted(cause.reason for cause in ours.causes) == sorted(cause.reason for cause in theirs.causes)
    assert ours.message.replace(sentence(ours.causes), sentence(theirs.causes)) == theirs.message
    return False


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_the_server_accepts_is_accepted_with_the_same_defaults(server: Server, case: str) -> None:
    _, manifest = ACCEPTED[case]
    assert assert_same(server, manifest)


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_server_refuses_is_refused_in_the_same_words(server: Server, case: str) -> None:
    _, manifest, _ = REFUSED[case]
    assert not assert_same(server, manifest)


VENUE, STRATEGY, LIMIT = venue_manifest(namespace=NAMESPACE), strategy_manifest(namespace=NAMESPACE), limit_manifest()
INSTRUMENT = VENUE["spec"]["instruments"][0]
ODD_TEXT = 'a"\\\té\u200b\U0001f600\x01<&>'
STAND_DOWN = "spec.policy.standDown.onDataGapSeconds"
SELECTOR = "spec.scope.strategySelector"
KEYS: tuple[Object, ...] = ({}, {"apiKey": "api key"}, {"secret": ""}, {"tlsKey": "client.pem"}, {"nope": "a"})
CHANGES: tuple[tuple[Object, str, tuple[Any, ...]], ...] = (
    (STRATEGY, "spec", (UNSET, None, [], "x", {})),
    (STRATEGY, "spec.mode", ("Live", "paper", "", 5, None, ["a"], {"a": 1})),
    (STRATEGY, "spec.Mode", ("Paper",)),
    (STRATEGY, "spec.suspend", ("true", None, 1)),
    (STRATEGY, "spec.capital", (UNSET, None, "x", [], {})),
    (STRATEGY, "spec.capital.amount", (5, 1.5, "1" * 41, "1\n", "", "0", "1e3", "٣", ODD_TEXT)),
    (STRATEGY, "spec.instruments", ([], [None], "x", {}, ["x", 1], [{"symbol": "A", "nope": 1}])),
    (STRATEGY, "spec.instruments.0.nope", ({"a": 1},)),
    (STRATEGY, "spec.model", ({}, {"name": "ema-crossover", "entryPoint": "a.b:C"}, {"entryPoint": "a.b:C\n"})),
    (STRATEGY, "spec.model.parameters", ({f"a{number}": 1 for number in range(33)}, {"9": 1.5}, {"a": 2**63})),
    (STRATEGY, "spec.model.parameters", ({"a": 1.0, "b": "x"}, {"b": True, "c": None, "d": [1], "e": {"x": 1}})),
    (STRATEGY, STAND_DOWN, (0, 86401, 1.5, -0.5, 1e30, 2**70, "5", True, [], {}, 5.0, -5.0, 1.0000000001, 0.1)),
    (STRATEGY, "spec.agents", ({"image": "<a>&"}, None, {"resources": None}, {"resources": {"requests": {}}})),
    (STRATEGY, "spec.agents.resources.requests.cpu", ("0.0625", 0.0625, "1/16")),
    (STRATEGY, "status", ({"phase": "x"}, {"nope": 1}, "x", None)),
    (STRATEGY, "nope", (1, None)),
    (STRATEGY, "metadata", (UNSET, None, "x", [], {})),
    (STRATEGY, "metadata.name", ("A", "", 5, None, "a" * 300, "a" * 41, "a.b", "9", "é", "-a", "a\n")),
    (STRATEGY, "metadata.generateName", ("a-", "A-", "-")),
    (STRATEGY, "metadata.labels", (None, [], "s", {"a": 1}, {"a": None}, {"a b": "c d"}, {"x.y/" + "a" * 64: "1"})),
    (STRATEGY, "metadata.labels", ({"/x": "y", "a/b/c": "", "é/x": "z" * 64, "": "v", "a\n": "b\n"},)),
    (STRATEGY, "metadata.annotations", ({"A b": "x"}, {"A": "x"}, {"a": True}, {"a": "x" * 257 * 1024})),
    (STRATEGY, "metadata.finalizers", (["x", "a b"], [5], "x", [None])),
    (STRATEGY, "metadata.ownerReferences", ([{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1"}], ["x"])),
    (STRATEGY, "metadata.ownerReferences", ([{"apiVersion": "", "nope": 1}], [{"apiVersion": ""}], [{"kind": 5}])),
    (STRATEGY, "metadata.nope", (1,)),
    (STRATEGY, "metadata.generation", (-1, 1.5, "x", True)),
    (STRATEGY, "metadata.uid", ("x", 5)),
    (STRATEGY, "metadata.resourceVersion", (5,)),
    (STRATEGY, "metadata.creationTimestamp", (None, "2026-01-05T09:00:00Z")),
    (STRATEGY, "metadata.selfLink", ("x",)),
    (VENUE, "spec.type", (UNSET, None, "FIX", "")),
    (VENUE, "spec.simulated", (UNSET, {}, {"data": []})),
    (VENUE, "spec.simulated.data", ([{}], [{"sample": 5}], [{"symbol": "EUR-USD", "sample": "a\n"}])),
    (VENUE, "spec.simulated.data", ({"sample": "eurusd-1h", "spreadBps": "0.5"},)),
    (VENUE, "spec.simulated.replay.loop", (None, "yes")),
    (VENUE, "spec.simulated.apiKeySha256", ("0" * 64, "0" * 63)),
    (VENUE, "spec.instruments", ([INSTRUMENT] * 3, [{}, {}], [{"symbol": None}], [{"symbol": 5}, {"symbol": 5}])),
    (VENUE, "spec.instruments", ([{**INSTRUMENT, "symbol": f"S{number}"} for number in range(501)],)),
    (VENUE, "spec.instruments.0", (None, 5, "x")),
    (VENUE, "spec.credentials", ({}, {"vault": {"path": "/", "role": ""}}, {"secretRef": {"name": "a"}})),
    (VENUE, "spec.credentials.vault", tuple({"path": "a", "role": "b", "keys": keys} for keys in KEYS)),
    (VENUE, "spec.credentials.vault", ({"path": "a", "role": "b", "engine": "Static"},)),
    (VENUE, "spec.simulated.previousApiKeySha256", ("0" * 64, "x")),
    (VENUE, "spec.rateLimits", (None, {"burst": None}, {"burst": 0, "ordersPerSecond": 10**7})),
    (LIMIT, "spec.scope.instruments", (["A", "A", "b", "A"], [None, None], [1, 1], ["A", None])),
    (LIMIT, f"{SELECTOR}.matchExpressions", ([{"key": "a", "operator": "In"}], [{"key": "", "operator": "Foo"}])),
    (LIMIT, f"{SELECTOR}.matchExpressions", ([{"key": "a", "operator": "Exists", "values": ["a", "a"]}],)),
    (LIMIT, f"{SELECTOR}.matchLabels", ({"a": 5, "b": "x" * 64}, {"a": None}, {str(n): "" for n in range(17)})),
    (LIMIT, "spec.limits", ({"maxOrderRate": {"count": 12000, "perSeconds": 86400}},)),
    (LIMIT, "spec.limits", ({"maxOrderRate": {}}, {"maxOrderRate": {"count": 0, "perSeconds": 10**7}}, None)),
)
CHANGED = [
    pytest.param(change(base, path, value), id=f"{base['kind']} {path} {number}")
    for number, (base, path, value) in enumerate(
        (base, path, value) for base, path, values in CHANGES for value in values if value is not UNSET or "." in path
    )
] + [
    pytest.param({key: value for key, value in STRATEGY.items() if key != name}, id=f"Strategy without {name}")
    for name in ("metadata", "spec")
]


@pytest.mark.parametrize("manifest", CHANGED)
def test_one_change_has_the_same_outcome(server: Server, manifest: Object) -> None:
    assert_same(server, manifest)


def probe(**spec: Any) -> Object:
    """An object of the test's own kind."""
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "Probe", "metadata": {"name": "a"}, "spec": spec}


PROBES = (
    *(probe(code=code) for code in ("a1", "a1\n", "a٣", "A1", "a", "a12345", "é" * 6, 5, None)),
    *(probe(ratio=ratio, code="a1") for ratio in (1, 1.5, -1, -1.5, 10.5, 11, 1e300, "1", True, None)),
    *(probe(level=level) for level in (1, 2.0, 3, 3.5, "1", None, True)),
    *(probe(maybe=maybe) for maybe in (None, "x", 5)),
    *(probe(few=few) for few in ({}, {"a": 1}, {"a": 1, "b": 2}, {"bad": 1}, {"a": "x"}, {"a": None})),
    *(probe(free=free) for free in ({}, {"a": {"b": [1, None, 1.5]}}, {"a": None}, 5)),
    *(probe(high=high) for high in (5, 13, 14, 100)),
    *(probe(low=low, high=high) for low, high in ((1, 2), (2, 1), (2, 13), (2.5, 1))),
    probe(ratio=1),
    probe(ports=[{"name": "a", "number": 1}, {"name": "a"}, {"name": "a", "number": 2}]),
    probe(ports=[{"name": "a"}, "x", None]),
    probe(ports=[{"number": 1}, {"number": 1}, {}]),
    probe(ports=[{"name": f"n{number}"} for number in range(9)]),
    probe(nope=1, free={"x": 1}, ports=[{"x": 1}]),
)


@pytest.mark.parametrize("manifest", [pytest.param(item, id=json.dumps(item["spec"])) for item in PROBES])
def test_what_our_kinds_do_not_use_has_the_same_outcome(server: Server, manifest: Object) -> None:
    assert_same(server, manifest)


def full(manifest: Object) -> Object:
    """With defaults, so that a change meets every field."""
    verdict = judge(manifest, NAMESPACE)
    assert isinstance(verdict, Admitted)
    return verdict.manifest


FULL = (
    full(STRATEGY),
    full(change(STRATEGY, "spec.instruments", [{"symbol": s, "venueRef": {"name": "v"}} for s in ("A", "B")])),
    full(change(LIMIT, f"{SELECTOR}.matchExpressions", [{"key": "a", "operator": "In", "values": ["b", "c"]}])),
    full(change(LIMIT, "spec.scope.instruments", ["EUR-USD", "GOOGL"])),
    full(VENUE),
    full(
        change(change(VENUE, "spec.simulated.apiKeySha256", "0" * 64), "spec.credentials", {"secretRef": {"name": "a"}})
    ),
    full(
        change(
            change(VENUE, "spec.simulated.apiKeySha256", "0" * 64),
            "spec.credentials",
            {"vault": {"path": "a/b", "role": "c"}},
        )
    ),
    full(change(VENUE, "spec.simulated.data", [{"persistentVolumeClaim": {"claimName": "a", "path": "b.csv"}}])),
    full(change(VENUE, "spec.simulated.data", [{"configMap": {"name": "a", "key": "b.csv"}}])),
    probe(code="a1", ratio=1.5, level=2, maybe=None, few={"a": 1}, ports=[{"name": "a"}, {"name": "b"}], low=1, high=2),
)
# fmt: off
WORDS = st.sampled_from([
    "", "0", "1", "00", "-1", "0.5", "1.", ".5", "1e3", "A", "EUR-USD", "USD", "paper", "Paper", "Live", "In", "a.b:C",
    "24x7", "max", "a/b.csv", "../b.csv", "a.parquet", "50m", "1Gi", "Simulated", "a\n", "A\n", "x" * 600, "9" * 41,
])
# fmt: on
# No characters that this Python's Unicode does not know: it would quote them by number, and Go might know them.
TEXT = WORDS | st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=50)
FLOATS = st.floats(allow_nan=False, allow_infinity=False).map(whole_numbers)
# A float that is an integer but for rounding passes as one, and then stops the rules on integers: ours have none.
NUMBERS = (
    st.integers(-(2**65), 2**65)
    | st.integers(-2, 100)
    | FLOATS.filter(lambda value: isinstance(value, int) or abs(value - round(value)) > 1e-6)
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=3)
PATHS_LEFT_ALONE = (("apiVersion",), ("kind",), ("metadata", "namespace"))


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where every value of an object is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


@st.composite
def changed(draw: st.DrawFn) -> Object:
    """A good manifest with one to three changes anywhere."""
    manifest = copy.deepcopy(draw(st.sampled_from(FULL)))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        candidates = [path for path in paths(manifest) if path not in PATHS_LEFT_ALONE]
        if not candidates:
            break
        path = draw(st.sampled_from(candidates))
        parent: Any = manifest
        for key in path[:-1]:
            parent = parent[key]
        last: Any = path[-1]
        how = draw(st.sampled_from(("replace", "replace", "drop", "add", "case", "again")))
        if how == "drop":
            del parent[last]
        elif how == "add" and isinstance(parent[last], dict):
            parent[last][draw(TEXT)] = draw(VALUES)
        elif how == "case" and isinstance(parent[last], str):
            parent[last] = parent[last].swapcase()
        elif how == "case" and isinstance(parent, dict) and last not in ("metadata", "name"):
            parent[last.capitalize()] = parent.pop(last)
        elif how == "again" and isinstance(parent, list):
            parent.append(copy.deepcopy(parent[last]))
        else:
            parent[last] = draw(VALUES)
    return manifest


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(manifest=changed())
def test_changes_that_nobody_thought_of_have_the_same_outcome(server: Server, manifest: Object) -> None:
    assert_same(server, manifest)


TYPED = """
apiVersion: trading.crowetrade.io/v1alpha1
kind: RiskLimit
metadata: {{name: typed, labels: {{desk: {label}}}}}
spec: {{limits: {{maxOrderQuantity: {quantity}, maxOrderRate: {{count: {count}, perSeconds: 1}}}}{more}}}
"""
# No label that is not a string: kubectl refuses it itself, and says ObjectMeta.metadata.labels where the server leaves
# metadata out.
GOOD = {"label": "fx", "quantity": "'1'", "count": "1e3", "more": ""}


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"quantity": "1"},
        {"quantity": "1e3", "count": "0x10"},
        {"quantity": "'1,000'"},
        {"label": "'not so'", "count": "1_000_001"},
        {"count": "0.5"},
        {"more": ", onbreach: Block"},
        {"more": ", aggregate: no, enforcement: 5"},
    ],
    ids=str,
)
def test_from_text_to_sentence_kubectl_says_the_same(
    server: Server, api_server: ApiServer, tmp_path: Path, words: dict[str, str]
) -> None:
    file = tmp_path / "typed.yaml"
    file.write_text(TYPED.format(**(GOOD | words)))
    kubectl: list[str | Path] = [
        program("kubectl"),
        "--kubeconfig",
        api_server.kubeconfig,
        "-n",
        NAMESPACE,
        "--cache-dir",
        tmp_path,
    ]
    done = subprocess.run(
        [*kubectl, "apply", "--dry-run=server", "-f", file], capture_output=True, text=True, check=False
    )
    (found,) = read([str(file)], NAMESPACE).manifests
    verdict = judge(found.manifest, NAMESPACE)
    if done.returncode == 0:
        assert isinstance(verdict, Admitted)
        return
    assert isinstance(verdict, Refused), done.stderr
    said = [str(cause) for cause in verdict.causes] or [verdict.message]
    assert not [text for text in said if text not in done.stderr], done.stderr
