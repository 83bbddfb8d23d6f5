"""A venue's key comes from Vault into one pod's memory, and is nowhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import tarfile
from pathlib import Path

from tools.demo import install, venue_key
from tools.demo.kubernetes import Object
from tools.demo.strategies import with_key

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace, of_strategy, of_venue, pod_name

_KEY_FILE = "/var/run/crowetrade/credentials/credentials.json"
_HASH_OF_KEY = """
import hashlib, json, sys, pathlib
path = pathlib.Path(sys.argv[1])
key = json.loads(path.read_text())["keys"]["apiKey"] if path.exists() else None
print(json.dumps(None if key is None else hashlib.sha256(key.encode()).hexdigest()))
"""
_PROCESSES = """
import json, pathlib
texts = []
for process in pathlib.Path("/proc").glob("[0-9]*"):
    for name in ("environ", "cmdline"):
        try:
            texts.append((process / name).read_bytes().decode(errors="replace"))
        except OSError:
            pass
print(json.dumps(texts))
"""


def _venue(key: venue_key.VenueKey) -> Object:
    return with_key(manifests.venue(), key)


def _support_bundle(namespace: Namespace, file: Path) -> dict[str, str]:
    """What `crowetrade support-bundle` collects of the namespace."""
    program = Path(sys.executable).parent / "crowetrade"
    environment = {**os.environ, **namespace.kubectl.environment}
    subprocess.run([program, "support-bundle", "-n", namespace.name, "--file", file], env=environment, check=True)
    with tarfile.open(file) as archive:
        found = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name: content.read().decode() for name, content in found.items() if content is not None}


def test_the_key_is_in_the_gateway_alone(namespace: Namespace, tmp_path: Path) -> None:
    value = secrets.token_hex(24)
    key = venue_key.provide(namespace.cluster, namespace.name, manifests.VENUE, value)
    namespace.apply(manifests.risk_limit(), _venue(key), manifests.strategy("ema"))
    namespace.until_condition("venueconnection", manifests.VENUE, "CredentialsReady")
    namespace.until_condition("venueconnection", manifests.VENUE, "SessionEstablished")
    namespace.until_trading("ema")
    namespace.until_filled("ema")

    gateway = pod_name(namespace.pod(of_venue(manifests.VENUE)))
    agent = pod_name(namespace.pod(of_strategy("ema")))
    assert namespace.python(gateway, _HASH_OF_KEY, _KEY_FILE) == hashlib.sha256(value.encode()).hexdigest()
    assert namespace.python(agent, _HASH_OF_KEY, _KEY_FILE) is None
    for pod in (gateway, agent):
        assert value not in "".join(namespace.python(pod, _PROCESSES))
        logs = namespace.kubectl("logs", "-n", namespace.name, pod, "--all-containers", "--tail=-1")
        assert logs
        assert value not in logs
    selector = ("-l", "app.kubernetes.io/name=crowetrade-operator", "--tail=-1")
    assert value not in namespace.kubectl("logs", "-n", install.NAMESPACE, *selector)

    objects = namespace.kubectl.list("pods,deployments,configmaps,secrets,events", namespace.name)
    objects += namespace.kubectl.list("strategies,venueconnections,risklimits", namespace.name)
    assert value not in json.dumps(objects)
    assert base64.b64encode(value.encode()).decode() not in json.dumps(objects)

    bundle = _support_bundle(namespace, tmp_path / "bundle.tar.gz")
    assert any(gateway in name and "log" in name for name in bundle), sorted(bundle)
    assert not [name for name, text in bundle.items() if value in text]


def test_a_wrong_key_is_told_and_a_right_one_needs_no_restart(namespace: Namespace) -> None:
    right = secrets.token_hex(24)
    venue_key.provide(namespace.cluster, namespace.name, manifests.VENUE, secrets.token_hex(24))
    path = venue_key.secret_path(namespace.name, manifests.VENUE)
    role = venue_key.role_name(namespace.name, manifests.VENUE)
    key = venue_key.VenueKey(f"secret/data/{path}", role, hashlib.sha256(right.encode()).hexdigest())
    namespace.apply(_venue(key))
    namespace.until_condition("venueconnection", manifests.VENUE, "SessionEstablished", "False", "LogonRejected")
    lives = namespace.lives(of_venue(manifests.VENUE))
    assert len(lives) == 1

    venue_key.write(namespace.cluster, path, right)
    namespace.until_condition("venueconnection", manifests.VENUE, "SessionEstablished")
    assert namespace.lives(of_venue(manifests.VENUE)) == lives, "the gateway has restarted"
