"""Certificates, etcd, the API server, its two controllers, and the way in from outside."""

from __future__ import annotations

import shutil
import socket
import sys

from tools.localcluster import build, kube, network, paths, processes, versions
from tools.localcluster.progress import step

ETCD, API_SERVER = "etcd", "kube-apiserver"
CONTROLLER_MANAGER, SCHEDULER, FORWARDER = "kube-controller-manager", "kube-scheduler", "forwarder"

_PORT = "port"

_ADMINISTRATORS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "kubeadm:cluster-admins"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "kubeadm:cluster-admins"}],
}


def kubeadm_settings() -> str:
    dns_repository, dns_tag = versions.COREDNS_REPOSITORY, versions.COREDNS
    return f"""apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {{advertiseAddress: {versions.NODE_ADDRESS}, bindPort: {versions.API_PORT}}}
nodeRegistration: {{name: {versions.NODE}, criSocket: "unix://{paths.containerd_socket()}"}}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: {versions.NAME}
kubernetesVersion: {versions.KUBERNETES}
certificatesDir: {paths.pki()}
apiServer: {{certSANs: [127.0.0.1, localhost]}}
networking: {{serviceSubnet: {versions.SERVICE_CIDR}, podSubnet: {versions.POD_CIDR}}}
dns: {{imageRepository: {dns_repository}, imageTag: {dns_tag}}}
"""


def kubeadm(*arguments: str) -> str:
    settings = paths.state() / "kubeadm.yaml"
    paths.write(settings, kubeadm_settings())
    return processes.run([build.binary("kubeadm"), *arguments, "--config", settings], within=network.network())


def make_certificates() -> None:
    """A marker, written last, tells a whole set from one that was interrupted."""
    complete = paths.state() / "certificates.complete"
    if complete.exists():
        return
    for folder in (paths.pki(), paths.kubeconfigs()):
        shutil.rmtree(folder, ignore_errors=True)
    with step("making certificates"):
        kubeadm("init", "phase", "certs", "all")
        kubeadm("init", "phase", "kubeconfig", "all", "--kubeconfig-dir", str(paths.kubeconfigs()))
    paths.write(complete, "")


def start_etcd() -> None:
    pki = paths.pki() / "etcd"
    data = paths.state() / "etcd"
    data.mkdir(mode=0o700, exist_ok=True)
    command: processes.Command = [
        build.binary("etcd"),
        f"--name={versions.NODE}",
        f"--data-dir={data}",
        "--unsafe-no-fsync",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=https://127.0.0.1:2380",
        "--initial-advertise-peer-urls=https://127.0.0.1:2380",
        f"--initial-cluster={versions.NODE}=https://127.0.0.1:2380",
        "--client-cert-auth",
        "--peer-client-cert-auth",
        f"--trusted-ca-file={pki}/ca.crt",
        f"--cert-file={pki}/server.crt",
        f"--key-file={pki}/server.key",
        f"--peer-trusted-ca-file={pki}/ca.crt",
        f"--peer-cert-file={pki}/peer.crt",
        f"--peer-key-file={pki}/peer.key",
        "--log-level=warn",
    ]
    processes.start(ETCD, command, within=network.namespaces())


def start_api_server() -> None:
    pki = paths.pki()
    command: processes.Command = [
        build.binary(API_SERVER),
        f"--advertise-address={versions.NODE_ADDRESS}",
        f"--secure-port={versions.API_PORT}",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--etcd-servers=https://127.0.0.1:2379",
        f"--etcd-cafile={pki}/etcd/ca.crt",
        f"--etcd-certfile={pki}/apiserver-etcd-client.crt",
        f"--etcd-keyfile={pki}/apiserver-etcd-client.key",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={versions.SERVICE_CIDR}",
        "--allow-privileged=true",
    ]
    processes.start(API_SERVER, command, within=network.namespaces())


def start_forwarder() -> None:
    """Before the API server, so that the port is known; both ends wait for each other by themselves."""
    record = paths.state() / _PORT
    if not (record.exists() and processes.alive(FORWARDER)):
        paths.write(record, str(_free_port(int(record.read_text()) if record.exists() else None)))
    port = record.read_text()
    program = paths.SOURCE / "forwarder.py"
    arguments = [port, str(paths.NETNS), versions.NODE_ADDRESS, str(versions.API_PORT)]
    purpose = " ".join([program.read_text(), *arguments])  # whichever Python runs it
    processes.start(FORWARDER, [sys.executable, "-I", str(program), *arguments], purpose=purpose)
    _write_admin_kubeconfig(int(port))


def _free_port(known: int | None) -> int:
    """The one of last time, the preferred one, or any."""
    for candidate in [*([known] if known else []), versions.PREFERRED_HOST_PORT, 0]:
        try:
            with socket.create_server(("127.0.0.1", candidate)) as listener:
                return int(listener.getsockname()[1])
        except OSError:
            continue
    raise OSError("no free port on 127.0.0.1")


def _write_admin_kubeconfig(port: int) -> None:
    text = _outside_kubeconfig((paths.kubeconfigs() / "super-admin.conf").read_text(), port)
    paths.write(paths.admin_kubeconfig(), text, mode=0o600)


def _outside_kubeconfig(text: str, port: int) -> str:
    inside = f"https://{versions.NODE_ADDRESS}:{versions.API_PORT}"
    context = f"kubernetes-super-admin@{versions.NAME}"
    return text.replace(inside, f"https://127.0.0.1:{port}").replace(context, versions.NAME)


def wait_for_api_server() -> None:
    needs = [ETCD, API_SERVER, FORWARDER]
    processes.wait_for("the API server", lambda: kube.succeeds("get", "--raw", "/readyz"), seconds=90, needs=needs)
    kube.apply(_ADMINISTRATORS)


def start_controllers() -> None:
    """Only once the API server is ready: they exit when its roles are not there yet."""
    pki, within = paths.pki(), network.namespaces()

    def kubeconfig(name: str) -> list[str]:
        path = paths.kubeconfigs() / f"{name}.conf"
        return [f"--{flag}={path}" for flag in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")]

    command: processes.Command = [
        build.binary(CONTROLLER_MANAGER),
        *kubeconfig("controller-manager"),
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={versions.POD_CIDR}",
        f"--service-cluster-ip-range={versions.SERVICE_CIDR}",
        f"--client-ca-file={pki}/ca.crt",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
    ]
    processes.start(CONTROLLER_MANAGER, command, within=within)
    command = [build.binary(SCHEDULER), *kubeconfig("scheduler"), "--leader-elect=false"]
    processes.start(SCHEDULER, command, within=within)
