"""Who changes and who deletes is recorded: a real API server that asks a replica of the operator that does not lead."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_api.names import CHANGED_BY_ANNOTATION, GROUP, VERSION
from crowetrade_operator import metrics
from crowetrade_operator.admission.install import EARLIER_SECRET, NAME, WEBHOOKS, install
from crowetrade_operator.admission.keys import CERTIFICATE, KEY, TOKEN, Keys, dns_name, path_of, read
from crowetrade_operator.admission.server import MAX_CONNECTIONS
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import KILL_SWITCHES, RISK_LIMITS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.cluster.secrets import SECRETS
from crowetrade_operator.errors import ClusterError
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.charts import of_kind, rendered
from crowetrade_operator_tests.integration.desk import Desk, running, started
from crowetrade_operator_tests.integration.test_audit import events, stored
from crowetrade_operator_tests.integration.test_rearm import Server
from crowetrade_operator_tests.samples import kill_manifest, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, free_port, nats_client
from crowetrade_operator_tests.waiting import counted, until
from crowetrade_process.audit.chain import decode
from crowetrade_process.audit.verification import Verification
from crowetrade_process.identity.roles import OPERATOR_ACCOUNT

pytestmark = pytest.mark.integration
Object = dict[str, Any]
ALICE, ARGO_CD = "alice", "system:serviceaccount:argocd:argocd-application-controller"
STANDS_BY = "operator-1"
_numbers = itertools.count(1)
REQUESTED = audit_pb2.ACTION_DELETION_REQUESTED
_ADMISSION = "admissionregistration.k8s.io"
POLICIES = ApiResource(_ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
BINDINGS = ApiResource(_ADMISSION, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding")
LOOSER: Object = {"spec": {"limits": {"maxOrderQuantity": "9"}}}


def in_namespace(name: str) -> Object:
    """A selector of one namespace."""
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def configuration() -> Object:
    """The chart's."""
    (found,) = of_kind(rendered(), "ValidatingWebhookConfiguration")
    return found


@dataclass(slots=True)
class Asked:
    """A desk whose API server asks the replica that stands by."""

    desk: Desk
    people: Server
    keys: Keys
    port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def path(self, name: str = "") -> str:
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{self.desk.namespace}/risklimits"
        return f"{path}/{name}" if name else path

    async def delete(self, user: str, name: str = "", query: str = "") -> int:
        """Without a name everything; returns the HTTP code."""
        answer = await asyncio.to_thread(self.people.send, "DELETE", self.path(name) + query, None, user)
        return answer[0]

    async def send(self, method: str, user: str, path: str, body: Object) -> Object:
        """Returns what the API server has stored."""
        code, answer = await asyncio.to_thread(self.people.send, method, path, body, user)
        assert code in (200, 201), answer
        return answer

    async def change(self, user: str, name: str, body: Object, query: str = "") -> Object:
        return await self.send("PATCH", user, self.path(name) + query, body)

    async def changes(self, *users: str) -> list[audit_pb2.AuditEvent]:
        """What these asked to create and to change, as recorded."""
        found = await events(self.desk)
        return [one for one in found if one.action == audit_pb2.ACTION_CHANGE_REQUESTED and one.actor in users]

    async def told_of_changes(self, number: int, *users: str) -> list[audit_pb2.AuditEvent]:
        """Waits until so many are recorded."""

        async def recorded() -> bool:
            return len(await self.changes(*users)) >= number

        await until(f"{number} changes of {users} to be recorded", recorded)
        return await self.changes(*users)

    async def limit(self) -> str:
        """A new one's name."""
        manifest = limit_manifest(f"limit-{next(_numbers)}")
        return str((await self.desk.create(RISK_LIMITS, manifest))["metadata"]["name"])

    async def requested(self) -> list[tuple[str, str]]:
        """Who asked to delete what, as recorded."""
        return [(one.actor, one.name) for one in await events(self.desk) if one.action == REQUESTED]

    async def register(self, port: int) -> None:
        """The API server asks at this port of this machine."""
        body = configuration()
        authority = base64.b64encode(self.keys.certificate.encode()).decode()
        for webhook in body["webhooks"]:
            url = f"https://localhost:{port}{path_of(self.keys.token)}"
            webhook["clientConfig"] = {"url": url, "caBundle": authority}
            webhook["namespaceSelector"] = in_namespace(self.desk.namespace)
        await self.desk.cluster.create(WEBHOOKS, "", body)


@pytest.fixture
def people(api_server: ApiServer, namespace: str) -> Iterator[Server]:
    """Who may do everything."""
    client = Server(api_server)
    for user in (ALICE, ARGO_CD):
        client.bind(user, "cluster-admin", namespace)
    yield client
    client.close()


@pytest.fixture
async def asked(
    cluster: Cluster, namespace: str, nats_url: str, settings: Settings, people: Server, tmp_path: Path
) -> AsyncIterator[Asked]:
    """Both replicas run, and the API server knows whom to ask."""
    keys = Keys.make("localhost")
    stands_by = replace(settings, pod_name=STANDS_BY, admission_directory=str(tmp_path), admission_port=free_port())
    async with (
        running(settings) as leader,
        started(stands_by),
        nats_client(nats_url) as bus,
    ):
        # Kubernetes mounts the Secret after the process has begun.
        await until("the replica to look for its keys", lambda: metrics.ADMISSION_SERVED._value.get() == 0)
        for name, text in keys.secret().items():
            (tmp_path / name).write_text(text)
        await until("it to be served", lambda: metrics.ADMISSION_SERVED._value.get() == 1)
        found = Asked(Desk(cluster, namespace, bus, leader), people, keys, stands_by.admission_port)
        await found.register(found.port)
        try:
            probe = await found.limit()
            before = metrics.ADMISSION_REVIEWS.labels(result="Nothing")._value.get()

            async def known() -> bool:
                assert await found.delete(ALICE, probe, "?dryRun=All") == 200
                return bool(metrics.ADMISSION_REVIEWS.labels(result="Nothing")._value.get() > before)

            await until("the API server to ask", known)
            yield found
        finally:
            await cluster.delete(WEBHOOKS, "", NAME)


async def test_an_operator_that_stands_by_records_its_start_before_what_it_is_asked(asked: Asked) -> None:
    assert await asked.delete(ALICE, await asked.limit()) == 200

    async def recorded() -> bool:
        return bool(await asked.requested())

    await until("the request to be recorded", recorded)
    of_both = [payload for _, payload in await stored(asked.desk)]
    records = [record for payload in of_both if (record := decode(payload, "")).instance == STANDS_BY]
    (first, *others) = [record.event for record in records if record.HasField("event")]
    assert (first.action, first.actor) == (audit_pb2.ACTION_STARTED, f"{asked.desk.namespace}.{OPERATOR_ACCOUNT}")
    assert first.reason == f"operator {version('crowetrade-operator')} records requests"
    assert [one.action for one in others if one.action != audit_pb2.ACTION_CHANGE_REQUESTED] == [REQUESTED]


async def test_who_deletes_is_recorded_with_what_was_there(asked: Asked) -> None:
    names = [await asked.limit() for _ in range(2)]
    assert await asked.delete(ALICE, names[0]) == 200
    assert await asked.delete(ARGO_CD, names[1]) == 200
    expected = [(ALICE, names[0]), (ARGO_CD, names[1])]

    async def recorded() -> bool:
        return await asked.requested() == expected

    await until("both to be recorded, and no dry run", recorded)
    first = next(one for one in await events(asked.desk) if one.action == REQUESTED)
    assert first.proof == audit_pb2.ACTOR_PROOF_API_SERVER
    assert (first.kind, first.namespace, first.after) == ("RiskLimit", asked.desk.namespace, "")
    assert json.loads(first.before)["spec"]["limits"] == limit_manifest()["spec"]["limits"]

    async def gone() -> bool:
        deleted = [one for one in await events(asked.desk) if one.action == audit_pb2.ACTION_DELETED]
        return any(one.uid == first.uid for one in deleted)

    await until("the leader to record that it is gone", gone)
    verification = Verification(time.time_ns(), subjects.AUDIT_RETENTION_SECONDS)
    for subject, payload in await stored(asked.desk):
        verification.follow(subject, payload)
    assert [found.problem for found in verification.finish()] == [""]


async def test_who_changes_and_leaves_the_name_out_is_recorded_with_before_and_after(asked: Asked) -> None:
    name = await asked.limit()
    stored = await asked.change(ALICE, name, LOOSER)
    assert CHANGED_BY_ANNOTATION not in stored["metadata"].get("annotations", {})
    (found,) = await asked.told_of_changes(1, ALICE)
    before, after = json.loads(found.before), json.loads(found.after)
    assert (before["spec"]["limits"], after["spec"]["limits"]["maxOrderQuantity"]) == (
        limit_manifest()["spec"]["limits"],
        "9",
    )
    found.before = found.after = ""
    found.at_unix_ns = 0
    assert found == audit_pb2.AuditEvent(
        action=audit_pb2.ACTION_CHANGE_REQUESTED,
        actor=ALICE,
        proof=audit_pb2.ACTOR_PROOF_API_SERVER,
        kind="RiskLimit",
        namespace=asked.desk.namespace,
        name=name,
        uid=stored["metadata"]["uid"],
    )

    async def changed() -> bool:
        return any(
            (one.action, one.actor, one.uid) == (audit_pb2.ACTION_CHANGED, "", found.uid)
            for one in await events(asked.desk)
        )

    await until("the leader to record the change, of nobody it knows", changed)


@pytest.mark.parametrize("naming", ["name", "generateName"])
async def test_who_creates_is_recorded_with_the_name_and_uid_that_are_stored(asked: Asked, naming: str) -> None:
    manifest = limit_manifest(namespace=asked.desk.namespace)
    del manifest["metadata"]["name"], manifest["metadata"]["namespace"]
    manifest["metadata"][naming] = f"made-{next(_numbers)}-"[: None if naming == "generateName" else -1]
    stored = await asked.send("POST", ALICE, asked.path(), manifest)
    (found,) = await asked.told_of_changes(1, ALICE)
    assert (found.name, found.uid) == (stored["metadata"]["name"], stored["metadata"]["uid"])
    assert found.name.startswith("made-")
    assert found.uid
    assert found.namespace == asked.desk.namespace
    assert (found.before, json.loads(found.after)["spec"]) == ("", stored["spec"])


@pytest.mark.parametrize("resource", [STRATEGIES, VENUES, RISK_LIMITS, KILL_SWITCHES], ids=lambda one: one.kind)
async def test_all_kinds_are_asked_about(asked: Asked, resource: ApiResource) -> None:
    manifest = {
        STRATEGIES: strategy_manifest("ema"),
        VENUES: venue_manifest("sim"),
        RISK_LIMITS: limit_manifest(),
        KILL_SWITCHES: kill_manifest("all", asked.desk.namespace),
    }[resource]
    manifest["metadata"]["namespace"] = asked.desk.namespace
    await asked.send("POST", ALICE, resource.path(asked.desk.namespace), manifest)
    (found,) = await asked.told_of_changes(1, ALICE)
    assert (found.kind, found.name) == (resource.kind, manifest["metadata"]["name"])


async def test_what_changes_nothing_that_people_say_is_not_recorded(asked: Asked) -> None:
    name = await asked.limit()
    await asked.change(ALICE, name, LOOSER, "?dryRun=All")
    await asked.change(ALICE, name, {"metadata": {"finalizers": ["example.com/kept"]}})
    await asked.change(ALICE, name, {"metadata": {"finalizers": None}})
    await asked.change(ALICE, name, {"metadata": {"annotations": {CHANGED_BY_ANNOTATION: ALICE}}})
    await asked.send("PATCH", ALICE, f"{asked.path(name)}/status", {"status": {"observedGeneration": 1}})
    await asked.change(ALICE, name, {})
    await asked.change(ALICE, name, {"metadata": {"labels": {"desk": "rates"}}})
    (found,) = await asked.told_of_changes(1, ALICE)
    assert json.loads(found.after)["labels"] == {"desk": "rates"}


async def test_finalizers_do_not_even_ask(asked: Asked) -> None:
    """The operator puts its own on everything."""
    name = await asked.limit()
    before = counted("admission_reviews", result="Nothing")
    await asked.change(ALICE, name, {"metadata": {"finalizers": ["example.com/kept"]}})
    await asked.change(ALICE, name, {"metadata": {"finalizers": None}})
    assert counted("admission_reviews", result="Nothing") == before


async def test_what_a_policy_refuses_is_not_even_asked(asked: Asked) -> None:
    name, policy = await asked.limit(), f"refuses-{asked.desk.namespace}"
    rule = {
        "apiGroups": [GROUP],
        "apiVersions": ["*"],
        "operations": ["UPDATE"],
        "resources": ["risklimits"],
    }
    matches = {"resourceRules": [rule], "namespaceSelector": in_namespace(asked.desk.namespace)}
    admission = {"apiVersion": f"{_ADMISSION}/v1", "metadata": {"name": policy}}
    refuses = {"matchConstraints": matches, "validations": [{"expression": "false"}]}
    binding = {"policyName": policy, "validationActions": ["Deny"]}
    await asked.desk.cluster.create(POLICIES, "", {**admission, "kind": POLICIES.kind, "spec": refuses})
    await asked.desk.cluster.create(BINDINGS, "", {**admission, "kind": BINDINGS.kind, "spec": binding})

    async def refused(query: str) -> bool:
        path = asked.path(name) + query
        return (await asyncio.to_thread(asked.people.send, "PATCH", path, LOOSER, ALICE))[0] == 422

    async def obeyed() -> bool:
        return await refused("?dryRun=All")

    try:
        await until("the policy to be obeyed", obeyed)
        before = {result: counted("admission_reviews", result=result) for result in ("Nothing", "Recorded")}
        assert await refused("")
        assert {result: counted("admission_reviews", result=result) for result in before} == before
    finally:
        await asked.desk.cluster.delete(BINDINGS, "", policy)
        await asked.desk.cluster.delete(POLICIES, "", policy)


async def test_a_change_there_and_back_and_there_again_is_recorded_three_times(asked: Asked) -> None:
    name = await asked.limit()
    there = limit_manifest()["spec"]["limits"]["maxOrderQuantity"]
    for quantity in ("9", there, "9"):
        await asked.change(ALICE, name, {"spec": {"limits": {"maxOrderQuantity": quantity}}})
    found = await asked.told_of_changes(3, ALICE)
    quantities = [json.loads(one.after)["spec"]["limits"]["maxOrderQuantity"] for one in found]
    assert quantities == ["9", there, "9"]


async def test_of_what_is_too_long_for_a_record_a_hash_is_recorded(asked: Asked) -> None:
    name = await asked.limit()
    await asked.change(ALICE, name, {"metadata": {"annotations": {"note": "a" * 200_000}}})
    (found,) = await asked.told_of_changes(1, ALICE)
    assert json.loads(found.after).keys() == {"bytes", "sha256"}
    assert "spec" in json.loads(found.before)


async def test_who_deletes_all_of_a_kind_is_recorded_for_each(asked: Asked) -> None:
    for _ in range(3):
        await asked.limit()
    found, _ = await asked.desk.cluster.list(RISK_LIMITS, asked.desk.namespace)
    expected = sorted((ALICE, item["metadata"]["name"]) for item in found)
    assert await asked.delete(ALICE) == 200

    async def recorded() -> bool:
        return sorted(await asked.requested()) == expected

    await until("each to be recorded", recorded)


async def test_who_asks_again_while_it_is_being_deleted_is_not_recorded(asked: Asked) -> None:
    name = await asked.limit()
    await asked.desk.patch(RISK_LIMITS, name, {"metadata": {"finalizers": ["example.com/kept"]}})
    assert await asked.delete(ALICE, name) == 200
    assert await asked.delete(ARGO_CD, name) == 200
    other = await asked.limit()
    assert await asked.delete(ARGO_CD, other) == 200

    async def recorded() -> bool:
        return (ARGO_CD, other) in await asked.requested()

    await until("the last to be recorded", recorded)
    assert await asked.requested() == [(ALICE, name), (ARGO_CD, other)]
    await asked.desk.patch(RISK_LIMITS, name, {"metadata": {"finalizers": None}})


async def test_a_resource_is_changed_and_deleted_when_nobody_answers(asked: Asked) -> None:
    name = await asked.limit()
    await asked.desk.cluster.delete(WEBHOOKS, "", NAME)
    await asked.register(free_port())
    stored = await asked.change(ALICE, name, LOOSER)
    assert stored["spec"]["limits"]["maxOrderQuantity"] == "9"
    assert await asked.delete(ALICE, name) == 200
    await asked.desk.gone(RISK_LIMITS, name)


STRANGERS: dict[str, tuple[str, bytes, int, set[str]]] = {
    "no token": ("/admission/", b"{}", 404, set()),
    "another token": (path_of("A" * 43), b"{}", 404, {"Stranger"}),
    "a token beyond ASCII": (path_of("%C3%A4"), b"{}", 404, {"Stranger"}),
    "no JSON": ("", b"?", 400, {"Unreadable"}),
    "no AdmissionReview": ("", b'{"request": {"uid": 1}}', 400, {"Unreadable"}),
    "too long": ("", b" " * (5 * 1024 * 1024), 413, {"Unreadable"}),
}


@pytest.mark.parametrize("case", STRANGERS)
async def test_nobody_else_names_anybody(case: str, asked: Asked) -> None:
    path, body, code, result = STRANGERS[case]
    trusted = ssl.create_default_context(cadata=asked.keys.certificate)
    before = {name: counted("admission_reviews", result=name) for name in ("Stranger", "Unreadable", "Recorded")}
    async with (
        aiohttp.ClientSession() as session,
        session.post(asked.url + (path or path_of(asked.keys.token)), data=body, ssl=trusted) as response,
    ):
        assert response.status == code
    assert {name for name, number in before.items() if counted("admission_reviews", result=name) != number} == result
    assert await asked.requested() == []


async def test_connections_that_ask_nothing_keep_nobody_out(asked: Asked) -> None:
    trusted = ssl.create_default_context(cadata=asked.keys.certificate)
    writers = [
        (await asyncio.open_connection("localhost", asked.port, ssl=trusted))[1] for _ in range(MAX_CONNECTIONS + 20)
    ]
    name = await asked.limit()
    assert await asked.delete(ALICE, name) == 200

    async def recorded() -> bool:
        return await asked.requested() == [(ALICE, name)]

    await until("it to be recorded", recorded)
    for writer in writers:
        writer.transport.abort()


async def test_no_question_makes_room_for_another(asked: Asked) -> None:
    """Each on a connection of its own, and none is answered before all are there."""
    trusted = ssl.create_default_context(cadata=asked.keys.certificate)
    names = [f"asked-{number}" for number in range(MAX_CONNECTIONS + 20)]
    waiting = []
    for name in names:
        reader, writer = await asyncio.open_connection("localhost", asked.port, ssl=trusted)
        item = {"kind": "RiskLimit", "metadata": {"name": name, "namespace": asked.desk.namespace, "uid": name}}
        request = {"uid": name, "operation": "DELETE", "userInfo": {"username": ALICE}, "oldObject": item}
        body = json.dumps({"request": {**request, "object": None}}).encode()
        head = f"POST {path_of(asked.keys.token)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        waiting.append((reader, writer, body))
    for _, writer, body in waiting:
        writer.write(body)
    for reader, writer, _ in waiting:
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.transport.abort()

    async def recorded() -> bool:
        return {name for _, name in await asked.requested()} == {*names}

    await until("each to be recorded", recorded)


async def test_the_job_makes_the_keys_once_and_tells_the_api_server(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    await cluster.create(WEBHOOKS, "", configuration())
    try:
        assert await install(cluster, namespace) is True
        data = (await cluster.get(SECRETS, namespace, NAME))["data"]
        (webhook,) = (await cluster.get(WEBHOOKS, "", NAME))["webhooks"]
        assert webhook["clientConfig"]["caBundle"] == data[CERTIFICATE]
        token = base64.b64decode(data[TOKEN]).decode()
        assert webhook["clientConfig"]["service"]["path"] == path_of(token)
        assert webhook["failurePolicy"] == "Ignore"
        for name in (CERTIFICATE, KEY, TOKEN):
            (tmp_path / name).write_bytes(base64.b64decode(data[name]))
        served = read(tmp_path)
        assert served is not None
        assert served.token == token
        trusted = ssl.create_default_context(cadata=base64.b64decode(data[CERTIFICATE]).decode())
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=served.context)
        async with server:
            port = server.sockets[0].getsockname()[1]
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=trusted, server_hostname=dns_name(namespace)
            )
            writer.transport.abort()
        assert await install(cluster, namespace) is False
        # An upgrade may write the chart's again, without them.
        plain = {**configuration(), "metadata": (await cluster.get(WEBHOOKS, "", NAME))["metadata"]}
        await cluster.replace(WEBHOOKS, "", NAME, plain)
        assert await install(cluster, namespace) is True
        (again,) = (await cluster.get(WEBHOOKS, "", NAME))["webhooks"]
        assert again == webhook
    finally:
        await cluster.delete(WEBHOOKS, "", NAME)


async def test_the_job_takes_the_secret_of_earlier_builds_away_and_no_other(cluster: Cluster, namespace: str) -> None:
    for name in (EARLIER_SECRET, "other"):
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {TOKEN: "t"}}
        await cluster.create(SECRETS, namespace, body)
    await cluster.create(WEBHOOKS, "", configuration())
    try:
        await install(cluster, namespace)
    finally:
        await cluster.delete(WEBHOOKS, "", NAME)
    found, _ = await cluster.list(SECRETS, namespace)
    assert {item["metadata"]["name"] for item in found} == {NAME, "other"}


async def test_a_secret_that_lacks_something_is_not_used(cluster: Cluster, namespace: str) -> None:
    half = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": NAME}, "stringData": {TOKEN: "t"}}
    await cluster.create(SECRETS, namespace, half)
    with pytest.raises(ClusterError, match=r"it lacks tls\.crt, tls\.key; delete it"):
        await install(cluster, namespace)


UNUSABLE: dict[str, dict[str, str]] = {
    "no certificate": {TOKEN: "t", KEY: "k"},
    "a key that is none": {TOKEN: "t", CERTIFICATE: Keys.make("x").certificate, KEY: "k"},
    "an empty token": {**Keys.make("x").secret(), TOKEN: ""},
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_keys_that_cannot_be_used_are_refused(case: str, tmp_path: Path) -> None:
    for name, text in UNUSABLE[case].items():
        (tmp_path / name).write_text(text)
    with pytest.raises((OSError, ValueError)):
        read(tmp_path)
