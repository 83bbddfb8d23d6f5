"""Admission webhooks over HTTPS: mutating ones, as those of meshes, registries and vertical autoscalers, and validating
ones, as those of policy engines."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CONFIG_MAPS, ApiResource
from crowetrade_operator.errors import WebhookSilent
from crowetrade_operator_tests.waiting import until
from crowetrade_process_tests.identity.authority import Authority

Object = dict[str, Any]
Patch = list[Object]
GROUP = "admissionregistration.k8s.io"
MUTATING = ApiResource(GROUP, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration")
VALIDATING = ApiResource(GROUP, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration")
NOBODY = "https://127.0.0.1:1/"
PROBE = {"webhook.example.com/probe": "true"}


@dataclass(frozen=True, slots=True)
class Denial:
    """A webhook may choose the HTTP code; by default it is the API server's."""

    message: str
    code: int | None = None


class Webhook:
    """Answers each request with what `answer` makes of the object: its changes, or why it is not admitted."""

    def __init__(self, answer: Callable[[Object], Patch | Denial]) -> None:
        self._answer = answer
        self.asked = 0

    async def serve(self, request: web.Request) -> web.Response:
        """One AdmissionReview."""
        self.asked += 1
        review = (await request.json())["request"]
        answer = self._answer(review["object"] or review["oldObject"])
        response: Object = {"uid": review["uid"], "allowed": not isinstance(answer, Denial)}
        if isinstance(answer, Denial):
            response["status"] = {"message": answer.message, **({"code": answer.code} if answer.code else {})}
        elif answer:
            encoded = base64.b64encode(json.dumps(answer).encode()).decode()
            response |= {"patchType": "JSONPatch", "patch": encoded}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


@contextlib.asynccontextmanager
async def mutating(
    cluster: Cluster, namespace: str, group: str, plural: str, change: Callable[[Object], Patch], folder: Path
) -> AsyncIterator[Webhook]:
    """A webhook that is asked for each such object of the namespace that comes or changes."""
    async with (
        _served(Webhook(change), folder) as (webhook, url, authority),
        registered(cluster, namespace, group, plural, url, authority, MUTATING),
    ):
        yield webhook


@contextlib.asynccontextmanager
async def denying(
    cluster: Cluster,
    namespace: str,
    group: str,
    plural: str,
    denial: Denial,
    folder: Path,
    operations: Sequence[str] = ("CREATE", "UPDATE"),
) -> AsyncIterator[Webhook]:
    """A webhook that admits no such object of the namespace."""
    async with (
        _served(Webhook(lambda _: denial), folder) as (webhook, url, authority),
        registered(cluster, namespace, group, plural, url, authority, VALIDATING, operations),
    ):
        yield webhook


@contextlib.asynccontextmanager
async def _served(webhook: Webhook, folder: Path) -> AsyncIterator[tuple[Webhook, str, Authority]]:
    authority = Authority()
    issued = authority.issue(dns_names=("localhost",))
    (folder / "tls.pem").write_bytes(issued.key_pem + issued.pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "tls.pem")
    app = web.Application()
    app.router.add_post("/", webhook.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"https://localhost:{runner.addresses[0][1]}/"
    try:
        yield webhook, url, authority
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def registered(
    cluster: Cluster,
    namespace: str,
    group: str,
    plural: str,
    url: str,
    authority: Authority,
    configurations: ApiResource = MUTATING,
    operations: Sequence[str] = ("CREATE", "UPDATE"),
) -> AsyncIterator[None]:
    """The API server asks this address, whose certificate the authority has issued.

    It learns of a configuration some time after it has accepted it, so a second webhook beside the first, which nobody
    serves, shows when it has: an object that only the second is asked for is then refused.
    """
    name = f"{plural}.{namespace}.example.com"
    common = {
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
    }
    bundle = base64.b64encode(authority.pem).decode()
    body = {
        "apiVersion": configurations.api_version,
        "kind": configurations.kind,
        "metadata": {"name": name},
        "webhooks": [
            {
                **common,
                **({"reinvocationPolicy": "IfNeeded"} if configurations is MUTATING else {}),
                "name": name,
                "clientConfig": {"url": url, "caBundle": bundle},
                "rules": [_rule(group, plural, operations)],
            },
            {
                **common,
                "name": f"probe.{name}",
                "objectSelector": {"matchLabels": PROBE},
                "clientConfig": {"url": NOBODY, "caBundle": bundle},
                "rules": [_rule(CONFIG_MAPS.group, CONFIG_MAPS.plural, ["CREATE"])],
            },
        ],
    }
    await cluster.create(configurations, "", body)
    try:
        await until("the API server to ask the webhook", lambda: _in_force(cluster, namespace))
        yield
    finally:
        await cluster.delete(configurations, "", name)


def _rule(group: str, plural: str, operations: Sequence[str]) -> Object:
    return {"apiGroups": [group], "apiVersions": ["*"], "resources": [plural], "operations": list(operations)}


async def _in_force(cluster: Cluster, namespace: str) -> bool:
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "webhook-probe", "labels": PROBE}}
    try:
        await cluster.create(CONFIG_MAPS, namespace, probe)
    except WebhookSilent:
        return True
    await cluster.delete(CONFIG_MAPS, namespace, "webhook-probe")
    return False
