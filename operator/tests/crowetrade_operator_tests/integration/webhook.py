"""A mutating admission webhook as those of meshes, registries and vertical autoscalers: HTTPS, and a JSON patch."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_process_tests.identity.authority import Authority

Object = dict[str, Any]
Patch = list[Object]
CONFIGURATIONS = ApiResource(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"
)


class Webhook:
    """Answers each request with what `change` makes of the object."""

    def __init__(self, change: Callable[[Object], Patch]) -> None:
        self._change = change
        self.asked = 0

    async def serve(self, request: web.Request) -> web.Response:
        """One AdmissionReview."""
        self.asked += 1
        review = (await request.json())["request"]
        patch = self._change(review["object"])
        response: Object = {"uid": review["uid"], "allowed": True}
        if patch:
            encoded = base64.b64encode(json.dumps(patch).encode()).decode()
            response |= {"patchType": "JSONPatch", "patch": encoded}
        return web.json_response({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})


@contextlib.asynccontextmanager
async def mutating(
    cluster: Cluster, namespace: str, group: str, plural: str, change: Callable[[Object], Patch], folder: Path
) -> AsyncIterator[Webhook]:
    """A webhook that is asked for each such object of the namespace that comes or changes."""
    authority, webhook = Authority(), Webhook(change)
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
        async with registered(cluster, namespace, group, plural, url, authority):
            yield webhook
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def registered(
    cluster: Cluster, namespace: str, group: str, plural: str, url: str, authority: Authority
) -> AsyncIterator[None]:
    """The API server asks this address, whose certificate the authority has issued."""
    name = f"{plural}.{namespace}.example.com"
    body = {
        "apiVersion": CONFIGURATIONS.api_version,
        "kind": CONFIGURATIONS.kind,
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": name,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "reinvocationPolicy": "IfNeeded",
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "clientConfig": {"url": url, "caBundle": base64.b64encode(authority.pem).decode()},
                "rules": [
                    {
                        "apiGroups": [group],
                        "apiVersions": ["v1"],
                        "resources": [plural],
                        "operations": ["CREATE", "UPDATE"],
                    }
                ],
            }
        ],
    }
    await cluster.create(CONFIGURATIONS, "", body)
    try:
        yield
    finally:
        await cluster.delete(CONFIGURATIONS, "", name)
