"""Which context is found, as kubectl finds it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_cli.errors import Failed
from crowetrade_cli.fleet.api_server import connect
from crowetrade_cli.fleet.kubeconfig import find
from crowetrade_operator_tests.servers import ApiServer


def write(path: Path, name: str, current: str = "", user: dict[str, Any] | None = None, **cluster: str) -> Path:
    """A kubeconfig with one cluster, user and context, all of one name."""
    context = {"cluster": name, "namespace": f"ns-{name}", **({"user": name} if user is not None else {})}
    content = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}", **cluster}}],
        "contexts": [{"name": name, "context": context}],
        "users": [{"name": name, "user": user}] if user is not None else [],
        "current-context": current,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_the_file_in_the_home_folder(tmp_path: Path) -> None:
    write(tmp_path / "home" / ".kube" / "config", "a", current="a", user={"token": "t"})
    found = find()
    assert (found.cluster.server, found.namespace) == ("https://a", "ns-a")


def test_of_several_files_the_first_that_says_something_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = write(tmp_path / "1", "a", user={"token": "t"}), write(tmp_path / "2", "b", "b", user={"token": "u"})
    again = write(tmp_path / "3", "b", "a", user={"token": "v"}, **{"certificate-authority": "other"})
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, (one, tmp_path / "gone", two, again))))
    found = find()
    assert (found.cluster.server, found.cluster.certificate_auth) == ("https://b", None)
    assert found.user is not None
    assert found.user.token == "u"
    assert find(context="a").cluster.server == "https://a"


def test_paths_belong_to_the_folder_of_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = {"client-certificate": "c.pem", "client-key": "/abs/k.pem"}
    path = write(tmp_path / "sub" / "config", "a", "a", user, **{"certificate-authority": "ca.pem"})
    monkeypatch.chdir("/")
    found = find(str(path))
    assert found.user is not None
    assert found.cluster.certificate_auth == str(tmp_path / "sub" / "ca.pem")
    assert (found.user.client_cert, found.user.client_key) == (str(tmp_path / "sub" / "c.pem"), "/abs/k.pem")


def test_a_context_without_a_user(tmp_path: Path) -> None:
    assert find(str(write(tmp_path / "config", "a", "a"))).user is not None


BROKEN = {
    "no file": (None, "there is no kubeconfig at"),
    "no YAML": ("a: [", "cannot be read"),
    "a list": ("- a", "cannot be read"),
    "a cluster that is not there": (
        "contexts: [{name: a, context: {cluster: b}}]\ncurrent-context: a",
        "cannot be read",
    ),
    "a context that is not there": ("current-context: a", "Context 'a' not found"),
    "no current context": ("contexts: []", "No current context set"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_used_is_told_in_one_sentence(tmp_path: Path, case: str) -> None:
    text, complaint = BROKEN[case]
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Failed) as refused:
        find(str(path))
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def _plugin(folder: Path, script: str) -> dict[str, Any]:
    program = folder / "plugin"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "interactiveMode": "Never"}


def _with_plugin(api_server: ApiServer, folder: Path, script: str) -> Path:
    config = yaml.safe_load(api_server.kubeconfig.read_text())
    config["users"] = [{"name": "user", "user": {"exec": _plugin(folder, script)}}]
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.integration
async def test_a_credential_plugin_of_version_v1_logs_in(api_server: ApiServer, tmp_path: Path) -> None:
    """It answers in the version that it is asked for."""
    script = (
        """case "$KUBERNETES_EXEC_INFO" in *'"client.authentication.k8s.io/v1"'*) """
        """echo '{"status": {"token": "test-admin-token"}}';; esac"""
    )
    async with connect(find(str(_with_plugin(api_server, tmp_path, script)))) as api:
        assert await api.user() == "admin"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("script", "complaint"),
    [("echo no >&2; exit 3", "returned 3: no"), ("echo {}", "no credentials for"), ("echo", "no credentials for")],
)
async def test_a_credential_plugin_that_fails_is_told_in_one_sentence(
    api_server: ApiServer, tmp_path: Path, script: str, complaint: str
) -> None:
    async with connect(find(str(_with_plugin(api_server, tmp_path, script)))) as api:
        with pytest.raises(Failed) as refused:
            await api.objects(KillSwitch, "default")
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_certificate_that_is_not_there_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "config", "a", "a", {}, **{"certificate-authority": "gone.pem"})
    with pytest.raises(Failed, match="the kubeconfig's entry for https://a cannot be used"):
        async with connect(find(str(path))):
            pass
