"""`python -m crowetrade_operator.admission.install NAMESPACE`: lets the API server ask the operator who asks for what.

The chart runs it after it installs or upgrades. It makes the Secret once, and writes what is in it into the chart's
ValidatingWebhookConfiguration: the operator itself may change none, because whoever may can have every object of the
cluster shown to them.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence

import structlog

from crowetrade_operator.admission.keys import CERTIFICATE, TOKEN, Keys, dns_name, path_of
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.hook import run_hook
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator.cluster.secrets import SECRETS, make_once

NAME = "crowetrade-admission"
EARLIER_SECRET = "crowetrade-deletions"
"""Of builds that were asked about deletions alone: their keys serve nothing any more."""
WEBHOOKS = ApiResource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"
)

log = structlog.get_logger()


async def install(cluster: Cluster, namespace: str) -> bool:
    """Whether the webhook's configuration had to be changed. Raises ClusterError."""
    made = Keys.make(dns_name(namespace)).secret()
    data, _ = await make_once(cluster, namespace, NAME, made, "the operator's pods have to start again to read it")
    found = await cluster.get(WEBHOOKS, "", NAME)
    authority, path = base64.b64encode(data[CERTIFICATE].encode()).decode(), path_of(data[TOKEN])
    is_changed = False
    for webhook in found["webhooks"]:
        client = webhook["clientConfig"]
        wanted = {"caBundle": authority, "service": {**client["service"], "path": path}}
        is_changed |= client != wanted
        webhook["clientConfig"] = wanted
    if is_changed:
        await cluster.replace(WEBHOOKS, "", NAME, found)
    await cluster.delete(SECRETS, namespace, EARLIER_SECRET)
    return is_changed


async def _install(cluster: Cluster, namespace: str) -> None:
    log.info("admission_webhook_set" if await install(cluster, namespace) else "admission_webhook_kept")


def main(arguments: Sequence[str]) -> int:
    """Entry point; returns the exit code."""
    return run_hook("crowetrade_operator.admission.install", __doc__, arguments, _install)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
