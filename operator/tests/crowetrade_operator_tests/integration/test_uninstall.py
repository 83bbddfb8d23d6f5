"""After `helm uninstall` nothing is stuck: the hook's process against a real API server, with no operator."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.names import FINALIZER
from crowetrade_api_tests.samples import limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import NAMESPACES, RISK_LIMITS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.errors import Conflict, NotFound
from crowetrade_operator_tests.charts import CHART, SYSTEM_NAMESPACE
from crowetrade_operator_tests.integration.test_operator_rights import kubeconfig_of
from crowetrade_operator_tests.integration.test_rearm import RBAC, Server
from crowetrade_operator_tests.servers import POWERLESS_USER, ApiServer, program
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
OTHERS = "example.com/keep"
NAME = "crowetrade-uninstall"
JOBS = ApiResource("batch", "v1", "jobs", "Job")
CLUSTER_ROLES = ApiResource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
BINDINGS = ApiResource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding")


async def uninstall(kubeconfig: Path, *namespaces: str) -> tuple[int, str]:
    """The exit code of the Job's process, and what it has logged."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "NAMESPACES": ",".join(namespaces)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crowetrade_operator.uninstall", env=environment, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def create(cluster: Cluster, resource: ApiResource, manifest: dict[str, Any], *finalizers: str) -> None:
    manifest["metadata"]["finalizers"] = list(finalizers)
    await cluster.create(resource, manifest["metadata"]["namespace"], manifest)


async def finalizers_of(cluster: Cluster, resource: ApiResource, namespace: str, name: str) -> list[str]:
    found: list[str] = (await cluster.get(resource, namespace, name))["metadata"].get("finalizers") or []
    return found


async def test_everything_is_released_and_nothing_is_deleted(
    cluster: Cluster, namespace: str, api_server: ApiServer
) -> None:
    await create(cluster, STRATEGIES, strategy_manifest("going", namespace), FINALIZER)
    await create(cluster, STRATEGIES, strategy_manifest("ema", namespace), FINALIZER, OTHERS)
    await create(cluster, VENUES, venue_manifest("sim-fx", namespace), FINALIZER)
    await create(cluster, RISK_LIMITS, limit_manifest("desk", namespace))
    await cluster.delete(STRATEGIES, namespace, "going")
    assert FINALIZER in await finalizers_of(cluster, STRATEGIES, namespace, "going"), "it waits for an operator"

    assert (await uninstall(api_server.kubeconfig, namespace))[0] == 0

    with pytest.raises(NotFound):
        await cluster.get(STRATEGIES, namespace, "going")
    assert await finalizers_of(cluster, STRATEGIES, namespace, "ema") == [OTHERS]
    assert await finalizers_of(cluster, VENUES, namespace, "sim-fx") == []
    assert await finalizers_of(cluster, RISK_LIMITS, namespace, "desk") == []
    assert (await uninstall(api_server.kubeconfig, namespace))[0] == 0, "again it has nothing to do"


async def test_an_installation_of_some_namespaces_leaves_the_others(
    cluster: Cluster, namespace: str, api_server: ApiServer
) -> None:
    await create(cluster, VENUES, venue_manifest("sim-fx", namespace), FINALIZER)
    assert (await uninstall(api_server.kubeconfig, "default"))[0] == 0
    assert await finalizers_of(cluster, VENUES, namespace, "sim-fx") == [FINALIZER]


async def test_a_refusal_is_a_failure_and_keeps_no_other_namespace_from_being_released(
    cluster: Cluster, namespace: str, api_server: ApiServer
) -> None:
    """A failure, so that the Job tries again, and helm says so."""
    forbidden, refused, last = (f"{namespace}-{name}" for name in ("forbidden", "refused", "last"))
    for name in (forbidden, refused, last):
        await cluster.create(NAMESPACES, "", {"metadata": {"name": name}})
    for name in (namespace, forbidden, refused, last):
        await create(cluster, VENUES, venue_manifest("sim-fx", name), FINALIZER)
    with contextlib.closing(Server(api_server)) as server:
        for name, verbs in ((namespace, ["list", "patch"]), (refused, ["list"]), (last, ["list", "patch"])):
            rule = {"apiGroups": ["trading.crowetrade.io"], "resources": ["*"], "verbs": verbs}
            server.make(f"{RBAC}/namespaces/{name}/roles", {"metadata": {"name": NAME}, "rules": [rule]})
            subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": POWERLESS_USER}
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
            binding = {"metadata": {"name": NAME}, "roleRef": role, "subjects": [subject]}
            server.make(f"{RBAC}/namespaces/{name}/rolebindings", binding)

    code, out = await uninstall(api_server.powerless, namespace, forbidden, refused, last)

    assert code == 1
    for name, verb in ((forbidden, "list"), (refused, "patch")):
        assert any(
            "finalizers_not_released" in line and f"cannot {verb} resource" in line and name in line
            for line in out.splitlines()
        ), out
        assert await finalizers_of(cluster, VENUES, name, "sim-fx") == [FINALIZER]
    for name in (namespace, last):
        assert await finalizers_of(cluster, VENUES, name, "sim-fx") == []


@contextlib.asynccontextmanager
async def helm(api_server: ApiServer, *arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    command = [program("helm"), *arguments, "--kubeconfig", api_server.kubeconfig, "-n", SYSTEM_NAMESPACE]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_helm_ends_an_installation_of_namespaces_of_which_some_are_gone_or_being_deleted(
    cluster: Cluster, namespace: str, api_server: ApiServer, tmp_path: Path
) -> None:
    """Helm and the hook's objects as in a cluster, and the rights of the hook's account; the Job is run by the test."""
    ending, gone = f"{namespace}-ending", f"{namespace}-gone"
    with contextlib.suppress(Conflict):
        await cluster.create(NAMESPACES, "", {"metadata": {"name": SYSTEM_NAMESPACE}})
    await cluster.create(NAMESPACES, "", {"metadata": {"name": ending}})
    for name in (namespace, ending):
        await create(cluster, VENUES, venue_manifest("sim-fx", name), FINALIZER)
        await create(cluster, STRATEGIES, strategy_manifest("ema", name), FINALIZER)
    await cluster.delete(NAMESPACES, "", ending)
    chart = shutil.copytree(CHART, tmp_path / "crowetrade")
    for template in (chart / "templates").iterdir():
        if template.name not in ("_helpers.tpl", "uninstall-hook.yaml"):
            template.unlink()
    namespaces = (gone, ending, namespace)
    given = f"operator.namespaces={{{','.join(namespaces)}}}"
    async with helm(api_server, "install", "crowetrade", chart, "--set", given) as install:
        out, _ = await install.communicate()
        assert install.returncode == 0, out.decode()

    async with helm(api_server, "uninstall", "crowetrade", "--timeout", "100s") as uninstalled:

        async def job() -> bool:
            assert uninstalled.returncode is None, (await uninstalled.communicate())[0].decode()
            environment = (await cluster.get(JOBS, SYSTEM_NAMESPACE, NAME))["spec"]["template"]["spec"]["containers"][0]
            return bool(environment["env"] == [{"name": "NAMESPACES", "value": ",".join(namespaces)}])

        await until("the hook's Job", job)
        kubeconfig = tmp_path / "account"
        with contextlib.closing(Server(api_server)) as server:
            kubeconfig.write_text(json.dumps(kubeconfig_of(NAME, server, api_server)))
        code, said = await uninstall(kubeconfig, *namespaces)
        assert code == 0, said
        await _completed(cluster)
        async with asyncio.timeout(60):
            out, _ = await uninstalled.communicate()
        assert uninstalled.returncode == 0, out.decode()

    for name in (namespace, ending):
        assert await finalizers_of(cluster, VENUES, name, "sim-fx") == []
        assert await finalizers_of(cluster, STRATEGIES, name, "ema") == []
    for resource in (CLUSTER_ROLES, BINDINGS):
        assert await cluster.find(resource, "", NAME) is None, "the rights are gone with the Job"


async def _completed(cluster: Cluster) -> None:
    """As the Job controller writes it."""
    now = "2026-01-05T10:00:00Z"
    conditions = [
        {"type": name, "status": "True", "lastProbeTime": now, "lastTransitionTime": now}
        for name in ("SuccessCriteriaMet", "Complete")
    ]
    status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}
    path = JOBS.path(SYSTEM_NAMESPACE, NAME, "status")
    await cluster._request("PATCH", "patch", JOBS, path, {}, {"status": status}, "application/merge-patch+json")
