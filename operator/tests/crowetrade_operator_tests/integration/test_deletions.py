"""Who deletes is recorded: a real API server that asks a replica of the operator that does not lead."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_api.names import GROUP, VERSION
from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import RISK_LIMITS
from crowetrade_operator.cluster.secrets import SECRETS
from crowetrade_operator.deletions.install import NAME, WEBHOOKS, install
from crowetrade_operator.deletions.keys import CERTIFICATE, KEY, TOKEN, Keys, dns_name, path_of, read
from crowetrade_operator.errors import ClusterError
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.charts import of_kind, rendered
from crowetrade_operator_tests.integration.desk import Desk, running, started
from crowetrade_operator_tests.integration.test_audit import events, stored
from crowetrade_operator_tests.integration.test_rearm import Server
from crowetrade_operator_tests.samples import limit_manifest
from crowetrade_operator_tests.servers import ApiServer, free_port, nats_client
from crowetrade_operator_tests.waiting import counted, until
from crowetrade_process.audit.verification import Verification

pytestmark = pytest.mark.integration
Object = dict[str, Any]
ALICE, ARGO_CD = "alice", "system:serviceaccount:argocd:argocd-application-controller"
_numbers = itertools.count(1)
REQUESTED = audit_pb2.ACTION_DELETION_REQUESTED


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
            webhook["namespaceSelector"] = {"matchLabels": {"kubernetes.io/metadata.name": self.desk.namespace}}
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
    stands_by = replace(settings, pod_name="operator-1", deletions_directory=str(tmp_path), deletions_port=free_port())
    async with (
        running(settings) as leader,
        started(stands_by),
        nats_client(nats_url) as bus,
    ):
        # Kubernetes mounts the Secret after the process has begun.
        await until("the replica to look for its keys", lambda: metrics.DELETIONS_SERVED._value.get() == 0)
        for name, text in keys.secret().items():
            (tmp_path / name).write_text(text)
        await until("it to be served", lambda: metrics.DELETIONS_SERVED._value.get() == 1)
        found = Asked(Desk(cluster, namespace, bus, leader), people, keys, stands_by.deletions_port)
        await found.register(found.port)
        try:
            probe = await found.limit()
            before = metrics.DELETIONS.labels(result="Nothing")._value.get()

            async def known() -> bool:
                assert await found.delete(ALICE, probe, "?dryRun=All") == 200
                return bool(metrics.DELETIONS.labels(result="Nothing")._value.get() > before)

            await until("the API server to ask", known)
            yield found
        finally:
            await cluster.delete(WEBHOOKS, "", NAME)


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


async def test_a_resource_is_deleted_when_nobody_answers(asked: Asked) -> None:
    name = await asked.limit()
    await asked.desk.cluster.delete(WEBHOOKS, "", NAME)
    await asked.register(free_port())
    assert await asked.delete(ALICE, name) == 200
    await asked.desk.gone(RISK_LIMITS, name)


STRANGERS: dict[str, tuple[str, bytes, int, set[str]]] = {
    "no token": ("/deletions/", b"{}", 404, set()),
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
    before = {name: counted("deletions", result=name) for name in ("Stranger", "Unreadable", "Recorded")}
    async with (
        aiohttp.ClientSession() as session,
        session.post(asked.url + (path or path_of(asked.keys.token)), data=body, ssl=trusted) as response,
    ):
        assert response.status == code
    assert {name for name, number in before.items() if counted("deletions", result=name) != number} == result
    assert await asked.requested() == []


async def test_connections_that_ask_nothing_keep_nobody_out(asked: Asked) -> None:
    trusted = ssl.create_default_context(cadata=asked.keys.certificate)
    writers = [(await asyncio.open_connection("localhost", asked.port, ssl=trusted))[1] for _ in range(100)]
    name = await asked.limit()
    assert await asked.delete(ALICE, name) == 200

    async def recorded() -> bool:
        return await asked.requested() == [(ALICE, name)]

    await until("it to be recorded", recorded)
    for writer in writers:
        writer.transport.abort()


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
