"""up, down and status: each reads what is, and does only what is missing."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

from tools.localcluster import (
    cgroups,
    controlplane,
    dns,
    host,
    images,
    kube,
    network,
    node,
    paths,
    preparation,
    processes,
    vault,
    versions,
)
from tools.localcluster.errors import ClusterError
from tools.localcluster.lock import exclusive
from tools.localcluster.progress import say, step

PROCESSES = (
    network.HOLDER,
    controlplane.FORWARDER,
    controlplane.ETCD,
    controlplane.API_SERVER,
    controlplane.CONTROLLER_MANAGER,
    controlplane.SCHEDULER,
    node.CONTAINERD,
    node.KUBELET,
    node.KUBE_PROXY,
    node.FELIX,
)
"""In the order of starting."""
_IMAGES = (versions.PAUSE_IMAGE, versions.COREDNS_IMAGE, versions.VAULT_IMAGE, versions.NATS_IMAGE)
"""Before any pod that wants one: kubelet asks for an image that is not there yet, and then waits ten seconds."""


def up() -> None:
    host.require_root()
    host.ensure_packages()
    if len(str(paths.containerd_socket())) > paths.MAX_SOCKET_PATH:
        raise ClusterError(f"{paths.cache()} is too long a path for a socket; set XDG_CACHE_HOME to a shorter folder.")
    preparation.prepare()
    with exclusive(paths.lock(), "bring the cluster up"):
        _clear_ruins()
        network.create()
        with step("containerd"):
            node.start_containerd()
        # What pods will run is brought to the node while the control plane starts, in the order in which it is needed.
        with ThreadPoolExecutor(max_workers=1) as pool:
            loaded = {image: pool.submit(images.load, image) for image in _IMAGES}
            with step("control plane"):
                controlplane.make_certificates()
                controlplane.start_forwarder()
                controlplane.start_etcd()
                controlplane.start_api_server()
                controlplane.wait_for_api_server()
                controlplane.start_controllers()
            with step("node"):
                loaded[versions.PAUSE_IMAGE].result()
                _start_node()
            with step("CoreDNS and Vault"):
                loaded[versions.COREDNS_IMAGE].result()
                dns.deploy()
                loaded[versions.VAULT_IMAGE].result()
                vault.deploy()
                dns.wait_until_ready()
                vault.wait_until_ready()
                loaded[versions.NATS_IMAGE].result()
    say("the cluster is up; use it with:")
    print(f"export KUBECONFIG={paths.admin_kubeconfig()}\n{kube.command()[0]} --context {versions.NAME} get pods -A")


def _start_node() -> None:
    node.install_network_plugins()
    node.prepare_policy_engine()
    node.start_kubelet()
    node.start_kube_proxy()
    node.start_policy_engine()
    node.wait_until_ready()


def _clear_ruins() -> None:
    """Without its namespaces (a reboot, say) nothing that still runs is of use; the data is."""
    if not network.is_up() and processes.recorded_names():
        say("the cluster's namespaces are gone; stopping what is left of it")
        _stop_everything()


def _stop_everything() -> None:
    """What starts new processes goes first. The data is thrown away anyway, so patience is short."""
    for name in (node.KUBELET, node.CONTAINERD):
        processes.stop(name)
    processes.kill(node.containers())
    identities = [identity for name in processes.recorded_names() if (identity := processes.recorded(name))]
    processes.end(identities, patience=5)
    for name in processes.recorded_names():
        processes.record_path(name).unlink()


def down() -> None:
    host.require_root()
    with exclusive(paths.lock(), "take the cluster down"):
        if not paths.state().exists():
            say("the cluster is not running; nothing to do")
            return
        with step("stopping processes"):
            _stop_everything()
        with step("removing namespaces, control groups and files"):
            cgroups.remove()
            network.remove()
            images.remove_host_folders()
            shutil.rmtree(paths.state())
    say("the cluster is down; programs and images stay in the cache for the next time")


def status() -> int:
    """0 when all is well; 1 when something is not, with the command that mends it."""
    host.require_root()
    if not paths.state().exists():
        print("down; start it with: python -m tools.localcluster up")
        return 1
    dead = [name for name in PROCESSES if not processes.alive(name)]
    for name in PROCESSES:
        identity = processes.alive(name)
        print(f"{name:26} {f'running, process {identity.pid}' if identity else 'not running'}")
    ready = not dead and {
        "API server": kube.succeeds("get", "--raw", "/readyz"),
        "node": node.is_ready(),
        "CoreDNS": dns.is_ready(),
        "Vault": vault.is_ready(),
    }
    for what, well in (ready or {}).items():
        print(f"{what:26} {'ready' if well else 'not ready'}")
    if ready and all(ready.values()):
        print(f"kubeconfig                 {paths.admin_kubeconfig()}")
        return 0
    print(f"mend it with: python -m tools.localcluster up (logs are in {paths.logs()})")
    return 1
