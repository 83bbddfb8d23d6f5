"""`python -m crowetrade_operator.uninstall`: the last step of `helm uninstall`, when no operator is left.

Takes the operator's finalizer off every resource, so that each can be deleted although nobody is there who stops its
trading first. Nothing is deleted: gateways and agents run on as they are, and an operator that is installed again puts
the finalizers back and carries on.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from crowetrade_api.names import FINALIZER
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import CUSTOM, ApiResource
from crowetrade_operator.errors import ClusterError, Conflict, NotFound
from crowetrade_operator.settings import names
from crowetrade_process.logs import configure_logging

TRIES = 5
log = structlog.get_logger()


@dataclass(slots=True)
class Released:
    """What came of it."""

    resources: int = 0
    failures: list[ClusterError] = field(default_factory=list)


async def release(cluster: Cluster, namespaces: tuple[str, ...]) -> Released:
    """Takes the finalizer off everything in these namespaces, or in all without any.

    What fails keeps nothing else from being released. Of a kind that is gone, as CRDs are with crds.keep=false, and in
    a namespace that is gone there is nothing to release.
    """
    done = Released()
    for namespace in namespaces or ("",):
        for resource in CUSTOM:
            try:
                items, _ = await cluster.list(resource, namespace)
            except NotFound:
                continue
            except ClusterError as error:
                done.failures.append(error)
                continue
            for item in items:
                try:
                    done.resources += await _release(cluster, resource, item)
                except ClusterError as error:
                    done.failures.append(error)
    return done


async def _release(cluster: Cluster, resource: ApiResource, item: Object) -> bool:
    namespace, name, found = item["metadata"]["namespace"], item["metadata"]["name"], item
    for _ in range(TRIES):
        metadata = found["metadata"]
        others = [one for one in metadata.get("finalizers") or [] if one != FINALIZER]
        if len(others) == len(metadata.get("finalizers") or []):
            return False
        patch = {"metadata": {"finalizers": others, "resourceVersion": metadata["resourceVersion"]}}
        try:
            await cluster.merge(resource, namespace, name, patch)
        except Conflict:
            now = await cluster.find(resource, namespace, name)
            if now is None:
                return False
            found = now
            continue
        except NotFound:
            return False
        log.info("finalizer_released", kind=resource.kind, namespace=namespace, name=name)
        return True
    raise Conflict("patch", resource.path(namespace, name), 409, f"it changed {TRIES} times meanwhile")


async def _run(environment: Mapping[str, str]) -> int:
    cluster = await connect(environment.get("KUBECONFIG", ""))
    try:
        done = await release(cluster, names(environment.get("NAMESPACES", "")))
    finally:
        await cluster.close()
    for error in done.failures:
        log.error("finalizers_not_released", error=str(error), hint="run it again, or remove them with kubectl patch")
    log.info("finalizers_released", resources=done.resources)
    return 1 if done.failures else 0


def main() -> int:
    """Entry point; returns the exit code."""
    configure_logging()
    return asyncio.run(_run(os.environ))


if __name__ == "__main__":
    sys.exit(main())
