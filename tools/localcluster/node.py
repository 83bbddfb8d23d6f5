"""The node: containerd, kubelet, kube-proxy, and Calico's Felix, which enforces NetworkPolicy."""

from __future__ import annotations

import json
from pathlib import Path

from tools.localcluster import build, cgroups, host, kube, network, paths, processes, versions
from tools.localcluster.errors import ClusterError
from tools.localcluster.processes import Identity

CONTAINERD, KUBELET, KUBE_PROXY, FELIX = "containerd", "kubelet", "kube-proxy", "calico-felix"
_SHIM = "containerd-shim-runc-v2"

_CALICO_READY = {
    "apiVersion": "crd.projectcalico.org/v1",
    "kind": "ClusterInformation",
    "metadata": {"name": "default"},
    "spec": {"datastoreReady": True},
}


def _cni_plugins() -> Path:
    return paths.state() / "cni" / "bin"


def containerd_settings() -> str:
    """restrict_oom_score_adj: where root lacks CAP_SYS_RESOURCE, every sandbox would die without it."""
    state = paths.state()
    return f"""version = 2
root = "{state}/containerd/root"
state = "{state}/containerd/state"
[grpc]
  address = "{paths.containerd_socket()}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{versions.PAUSE_IMAGE}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{_cni_plugins()}"
  conf_dir = "{state}/cni/net.d"
"""


def start_containerd() -> None:
    settings = paths.state() / "containerd.toml"
    paths.write(settings, containerd_settings())
    command: processes.Command = ["containerd", "--config", settings, "--log-level", "warn"]
    processes.start(CONTAINERD, command, within=network.namespaces(), settings=containerd_settings())

    processes.wait_for("containerd", _containerd_answers, seconds=30, needs=[CONTAINERD])


def _containerd_answers() -> bool:
    try:
        ctr("version")
    except ClusterError:
        return False
    return True


def ctr(*arguments: str | Path) -> str:
    return processes.run(ctr_command(*arguments))


def ctr_command(*arguments: str | Path) -> list[str]:
    return ["ctr", "--address", str(paths.containerd_socket()), "--namespace", "k8s.io", *map(str, arguments)]


def install_network_plugins() -> None:
    """Felix finds pods by the names that Calico's plugin gives to their interfaces: no other plugin does."""
    folder = _cni_plugins()
    folder.mkdir(parents=True, exist_ok=True)
    sources = {name: host.CNI_PLUGINS / name for name in ("host-local", "loopback")}
    for name, source in {**sources, "calico": build.binary("calico")}.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(source)
    calico = {
        "type": "calico",
        "log_level": "warning",
        "log_file_path": str(paths.logs() / "calico-cni.log"),
        "datastore_type": "kubernetes",
        "nodename": versions.NODE,
        "nodename_file_optional": True,
        "ipam": {"type": "host-local", "subnet": "usePodCidr", "dataDir": str(paths.state() / "cni" / "addresses")},
        "policy": {"type": "k8s"},
        "kubernetes": {"kubeconfig": str(paths.kubeconfigs() / "admin.conf")},
    }
    settings = {"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [calico]}
    paths.write(paths.state() / "cni" / "net.d" / "10-calico.conflist", json.dumps(settings, indent=2))


def prepare_policy_engine() -> None:
    kube.apply(build.module_file("calico", "crds.yaml").read_text())
    crd = "clusterinformations.crd.projectcalico.org"
    processes.wait_for(
        "Calico's resource definitions", lambda: kube.is_condition("crd", crd, "Established"), seconds=30
    )
    kube.apply(_CALICO_READY)


def start_policy_engine() -> None:
    environment = {
        "FELIX_DATASTORETYPE": "kubernetes",
        "KUBECONFIG": str(paths.kubeconfigs() / "admin.conf"),
        "FELIX_FELIXHOSTNAME": versions.NODE,
        "FELIX_IPV6SUPPORT": "false",
        "FELIX_IPINIPENABLED": "false",
        "FELIX_VXLANENABLED": "false",
        "FELIX_LOGFILEPATH": "none",
        "FELIX_LOGSEVERITYSCREEN": "Warning",
        "FELIX_DEFAULTENDPOINTTOHOSTACTION": "Accept",
        "FELIX_USAGEREPORTINGENABLED": "false",
        "FELIX_IPTABLESBACKEND": packet_filter(processes.run(["iptables", "--version"])),
    }
    processes.start(FELIX, [build.binary(FELIX)], within=network.namespaces(), environment=environment)


def packet_filter(iptables_version: str) -> str:
    """The one that `iptables`, and so kube-proxy, writes to. Felix's own guess changes with the rules that it finds:
    started again it would take the other one, and what it had written before would stay in force for ever."""
    return "NFT" if "nf_tables" in iptables_version else "Legacy"


def kubelet_settings() -> str:
    state = paths.state()
    return f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {paths.pki()}/ca.crt}}
authorization: {{mode: Webhook}}
containerRuntimeEndpoint: "unix://{paths.containerd_socket()}"
cgroupDriver: cgroupfs
cgroupRoot: /{versions.NAME}
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}}
clusterDNS: [{versions.DNS_ADDRESS}]
clusterDomain: cluster.local
resolvConf: {state}/resolv.conf
volumePluginDir: {state}/kubelet/volume-plugins
"""


def start_kubelet() -> None:
    state = paths.state()
    cgroups.create()
    paths.write(state / "resolv.conf", "# no resolver outside the cluster\n")
    paths.write(state / "kubelet.yaml", kubelet_settings())
    command: processes.Command = [
        build.binary(KUBELET),
        f"--config={state}/kubelet.yaml",
        f"--kubeconfig={paths.kubeconfigs()}/kubelet.conf",
        f"--root-dir={state}/kubelet",
        f"--cert-dir={state}/kubelet/pki",
        f"--hostname-override={versions.NODE}",
        f"--node-ip={versions.NODE_ADDRESS}",
    ]
    processes.start(KUBELET, command, within=network.namespaces(), settings=kubelet_settings())


def start_kube_proxy() -> None:
    settings = f"""apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {paths.kubeconfigs()}/admin.conf}}
hostnameOverride: {versions.NODE}
clusterCIDR: {versions.POD_CIDR}
mode: iptables
conntrack: {{maxPerCore: 0}}
"""
    path = paths.state() / "kube-proxy.yaml"
    paths.write(path, settings)
    command: processes.Command = [build.binary(KUBE_PROXY), f"--config={path}"]
    processes.start(KUBE_PROXY, command, within=network.namespaces(), settings=settings)


def wait_until_ready() -> None:
    needs = [CONTAINERD, KUBELET, KUBE_PROXY, FELIX]
    processes.wait_for("the node", is_ready, seconds=120, needs=needs)


def is_ready() -> bool:
    return kube.is_condition("node", versions.NODE, "Ready")


def containers() -> list[Identity]:
    """The shims of our containerd, known by its socket in their command line, and all that runs below them."""
    found: list[Identity] = []
    socket = str(paths.containerd_socket())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_shim_of(entry, socket) and (shim := processes.identify(int(entry.name))):
            found += [*processes.descendants(shim.pid), shim]
    return found


def _is_shim_of(entry: Path, socket: str) -> bool:
    try:
        arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return arguments[0].endswith(_SHIM) and socket in arguments
