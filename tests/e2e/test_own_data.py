"""A simulated venue replays a file of the user's own, and says what is wrong with one that it cannot read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tools.demo import images
from tools.demo.clusters import Cluster
from tools.demo.kubernetes import Kubectl, Object

from tests.e2e import manifests
from tests.e2e.namespaces import LABELS, PYTHON, Namespace, manifest

_SECOND_NS = 1_000_000_000
_START_NS = 1_700_000_000 * _SECOND_NS
_QUOTES = 2000


def _quotes(backwards: bool = False) -> str:
    """A market that swings between 1.10 and 1.11, a quote each second."""
    rows = []
    for number in range(_QUOTES):
        swing = abs(number % 40 - 20) * 50
        bid, ask = 110_000 + swing, 110_010 + swing
        rows.append(f"{_START_NS + number * _SECOND_NS},{bid / 1e5:.5f},500000,{ask / 1e5:.5f},500000")
    if backwards:
        rows.reverse()
    return "ts_ns,bid_px,bid_sz,ask_px,ask_sz\n" + "\n".join(rows) + "\n"


def _file(content: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "my-quotes"},
        "data": {"quotes.csv": content},
    }


def _venue(data: list[Object] | None = None) -> Object:
    simulated = {
        "data": data or [{"symbol": manifests.SYMBOL, "configMap": {"name": "my-quotes", "key": "quotes.csv"}}],
        "replay": {"speed": "20", "loop": True},
    }
    return manifests.venue(simulated=simulated)


def test_a_csv_in_a_config_map_is_traded(namespace: Namespace) -> None:
    # The venue first: what its pod waits for may come later.
    namespace.apply(manifests.risk_limit(), _venue(), manifests.strategy("ema"))
    namespace.apply(_file(_quotes()))
    namespace.until_trading("ema")
    namespace.until_filled("ema")


def test_a_file_that_cannot_be_read_is_a_condition_that_says_what_to_do(namespace: Namespace) -> None:
    namespace.apply(_file(_quotes(backwards=True)), _venue())
    namespace.until_condition("venueconnection", manifests.VENUE, "Ready", "False", "ConfigurationError")
    conditions = namespace.status("venueconnection", manifests.VENUE)["conditions"]
    ready = next(entry for entry in conditions if entry["type"] == "Ready")
    assert "quotes.csv goes back in time" in ready["message"]
    assert "sort it by ts_ns" in ready["message"]


# Makes Parquet of the CSV in its argument, in a folder of the node, and takes it away at the end.
_WRITER = """
import io, pathlib, shutil, signal, sys
import pyarrow, pyarrow.csv, pyarrow.parquet
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
ours = pathlib.Path(sys.argv[1])
ours.mkdir()
quotes = pyarrow.csv.read_csv(io.BytesIO(sys.argv[2].encode()))
pyarrow.parquet.write_table(quotes, ours / "quotes.parquet")
signal.sigwait({signal.SIGTERM})
shutil.rmtree(ours)
"""


@pytest.fixture
def claim(namespace: Namespace, kubectl: Kubectl, cluster: Cluster, deleted: list[str]) -> Iterator[str]:
    """A PersistentVolumeClaim with quotes.parquet on it. The volume is a folder of the node, so that no cluster needs
    a storage class; a pod in a namespace beside fills it, because pods of the test's own may not run as root."""
    beside, folder = f"{namespace.name}-writer", f"/tmp/crowetrade-{namespace.name}"
    size, modes = {"storage": "1Mi"}, ["ReadOnlyMany"]
    kubectl.apply([manifest(beside, restricted=False)])
    writer = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "writer"},
        "spec": {
            "containers": [
                {
                    "name": "writer",
                    "image": images.names(cluster).gateway,
                    "command": [PYTHON, "-c", _WRITER, folder, _quotes()],
                    "securityContext": {"runAsUser": 0, "runAsNonRoot": False},
                    "volumeMounts": [{"name": "node", "mountPath": "/tmp"}],
                    "readinessProbe": {
                        "exec": {"command": ["test", "-e", f"{folder}/quotes.parquet"]},
                        "timeoutSeconds": 10,
                    },
                }
            ],
            "volumes": [{"name": "node", "hostPath": {"path": "/tmp"}}],
        },
    }
    kubectl.apply([writer], beside)
    kubectl("wait", "pod/writer", "-n", beside, "--for=condition=Ready", "--timeout=110s")
    volume: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace.name, "labels": LABELS},
        "spec": {
            "capacity": size,
            "accessModes": modes,
            "storageClassName": "",
            "hostPath": {"path": folder},
            "claimRef": {"namespace": namespace.name, "name": "my-data"},
        },
    }
    wanted: Object = {"accessModes": modes, "storageClassName": "", "volumeName": namespace.name}
    kubectl.apply([volume])
    namespace.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "my-data"},
            "spec": {**wanted, "resources": {"requests": size}},
        }
    )
    yield "my-data"
    kubectl("delete", "pod", "writer", "-n", beside, "--timeout=60s")
    kubectl("delete", "namespace", beside, "--wait=false")
    deleted.append(beside)
    kubectl("delete", "persistentvolume", namespace.name, "--wait=false")


def test_parquet_on_a_persistent_volume_claim_is_traded(namespace: Namespace, claim: str) -> None:
    data = {"symbol": manifests.SYMBOL, "persistentVolumeClaim": {"claimName": claim, "path": "quotes.parquet"}}
    namespace.apply(manifests.risk_limit(), _venue([data]), manifests.strategy("ema"))
    namespace.until_trading("ema")
    namespace.until_filled("ema")
