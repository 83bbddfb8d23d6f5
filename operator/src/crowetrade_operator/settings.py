"""Settings from the environment."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from crowetrade import subjects
from crowetrade_api.names import HTTP_PORT
from crowetrade_operator.errors import SettingsError
from crowetrade_process.audit.quota import BYTES_PER_DAY
from crowetrade_process.identity.errors import IdentitySettingsError
from crowetrade_process.identity.variables import IDENTITY_TOKEN_FILE, IdentitySource, IdentityVariable
from crowetrade_process.identity.vault_api import parse_addresses

ADMISSION_PORT = 8443

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Peer:
    """What a NetworkPolicy lets through: pods, by labels of their namespace and their own; networks; the ports of both.

    Without any label there are no pods in it. Labels of one sort alone are for every namespace, or for all of its pods.
    """

    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[int, ...] = ()
    cidrs: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.namespace_labels or self.pod_labels or self.cidrs)


class VaultDelivery(StrEnum):
    """Who puts Vault Agent into a gateway's pod: the operator, or the Vault Agent Injector."""

    SIDECAR = "Sidecar"
    INJECTOR = "Injector"


class VaultRoles(StrEnum):
    """What the operator does about the Vault role and policy of each venue."""

    NONE = "None"
    VERIFY = "Verify"
    MANAGE = "Manage"


@dataclass(frozen=True, slots=True)
class Issuer:
    """An Issuer or ClusterIssuer of cert-manager."""

    name: str
    kind: str
    group: str


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Leader election, in seconds: how long a lease holds, how long to try to renew, how often to try."""

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How large the streams of the bus may become (bytes; NATS reserves them), and on how many servers each is.

    For streams that are made from now on: those that are there are changed by an administrator."""

    journal_max_bytes: int = 512 * 1024 * 1024
    snapshots_max_bytes: int = 64 * 1024 * 1024
    # Of the journals and snapshots of one namespace together; 0: no bound.
    namespace_max_bytes: int = 4 * 1024 * 1024 * 1024
    replicas: int = 1
    audit_max_bytes: int = 256 * 1024 * 1024
    audit_retention_seconds: int = subjects.AUDIT_RETENTION_SECONDS
    # See crowetrade_process.audit.quota; 0: no bound.
    audit_namespace_bytes_per_day: int = BYTES_PER_DAY


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; see `from_environment` for the names."""

    operator_namespace: str
    pod_name: str = "operator"
    # Namespaces to work in; empty means all.
    namespaces: tuple[str, ...] = ()
    # Value of the label by which namespaces are chosen; empty: they are not chosen by a label.
    shard_label: str = ""
    nats_url: str = "nats://nats:4222"
    agents_image: str = f"crowetrade/agents:{version('crowetrade-operator')}"
    gateway_image: str = f"crowetrade/gateway:{version('crowetrade-operator')}"
    # Environment by which pods get their identity: the operator's own. Empty: nobody proves who they are.
    identity: Mapping[str, str] = field(default_factory=dict)
    # Set: cert-manager writes the certificates that pods read as files.
    issuer: Issuer | None = None
    # Empty: no Vault. Several addresses are separated by commas.
    vault_address: str = ""
    # Certificates of the authority of Vault's own certificate, PEM; empty: those of the image.
    vault_ca: str = ""
    # The file with these.
    vault_ca_file: str = ""
    vault_namespace: str = ""
    vault_server_name: str = ""
    vault_image: str = "hashicorp/vault:1.19.0"
    vault_auth_path: str = "kubernetes"
    vault_delivery: VaultDelivery = VaultDelivery.SIDECAR
    vault_roles: VaultRoles = VaultRoles.NONE
    # With which the operator itself logs in to look after roles, and its token for that.
    vault_role: str = "crowetrade-operator"
    vault_token_file: str = IDENTITY_TOKEN_FILE
    # Below it lie the paths that the operator may open to the venues of a namespace.
    vault_managed_prefix: str = "secret/data/venues/{namespace}/"
    vault: Peer = Peer({"kubernetes.io/metadata.name": "vault"}, {}, (8200,))
    bus: Peer = Peer({}, {"app.kubernetes.io/name": "nats"}, (4222,))
    dns: Peer = Peer({"kubernetes.io/metadata.name": "kube-system"}, {"k8s-app": "kube-dns"}, (53,))
    # Where gateways watch KillSwitches.
    api_server: Peer = Peer(ports=(443, 6443), cidrs=("0.0.0.0/0", "::/0"))
    # Who may read metrics, beside the operator's namespace; none by default.
    monitoring: Peer = Peer(ports=(HTTP_PORT,))
    streams: StreamSettings = StreamSettings()
    cluster_domain: str = ""
    http_port: int = HTTP_PORT
    # Where the keys of the webhook are mounted that records who asks for what; empty: nobody does.
    admission_directory: str = ""
    admission_port: int = ADMISSION_PORT
    workers: int = 16
    # Of one namespace.
    gateway_restarts_at_once: int = 1
    agent_restarts_at_once: int = 10
    # Secrets in the namespaces of strategies and of venues with which their images are pulled.
    agent_pull_secrets: tuple[str, ...] = ()
    gateway_pull_secrets: tuple[str, ...] = ()
    # Status writes a second, over all objects.
    status_writes_per_second: float = 20.0
    resync_seconds: float = 300.0
    stop_deadline_seconds: float = 60.0
    # A gateway or agent that has not reported for so long is silent. Agents report every three seconds, and what is
    # lost on the bus is lost.
    silent_after_seconds: float = 10.0
    lease_name: str = "crowetrade-operator"
    lease: LeaseTimes = LeaseTimes()
    log_level: str = "INFO"
    # Path of a kubeconfig; empty means in-cluster.
    kubeconfig: str = ""

    def works_in(self, namespace: str) -> bool:
        """Whether the namespace is one to work in."""
        return not self.namespaces or namespace in self.namespaces


_DEFAULTS = Settings(operator_namespace="")
_SHARD = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings, or raises a SettingsError that names the variable and says what to write."""
    namespace = environment.get("OPERATOR_NAMESPACE", "")
    if not namespace:
        raise SettingsError("OPERATOR_NAMESPACE is not set: set it from the downward API field metadata.namespace")
    nats_url = environment.get("NATS_URL") or f"nats://nats.{namespace}.svc:4222"
    vault_address = _vault_address(environment)
    return Settings(
        operator_namespace=namespace,
        pod_name=environment.get("POD_NAME") or socket.gethostname(),
        namespaces=names(environment.get("NAMESPACES", "")),
        shard_label="" if environment.get("NAMESPACES", "").strip() else environment.get("SHARD", ""),
        nats_url=nats_url,
        agents_image=environment.get("AGENTS_IMAGE") or _DEFAULTS.agents_image,
        gateway_image=environment.get("GATEWAY_IMAGE") or _DEFAULTS.gateway_image,
        identity=_identity(environment),
        issuer=_issuer(environment),
        vault_address=vault_address,
        vault_ca=_content("VAULT_CACERT", environment.get("VAULT_CACERT", "")),
        vault_ca_file=environment.get("VAULT_CACERT", ""),
        vault_namespace=environment.get("VAULT_NAMESPACE", ""),
        vault_server_name=environment.get("VAULT_TLS_SERVER_NAME", ""),
        vault_image=environment.get("VAULT_IMAGE") or _DEFAULTS.vault_image,
        vault_auth_path=environment.get("VAULT_AUTH_PATH") or _DEFAULTS.vault_auth_path,
        vault_delivery=_choice(environment, "VAULT_DELIVERY", _DEFAULTS.vault_delivery),
        vault_roles=_choice(environment, "VAULT_ROLES", _DEFAULTS.vault_roles),
        vault_role=environment.get("VAULT_ROLE") or _DEFAULTS.vault_role,
        vault_token_file=environment.get("VAULT_TOKEN_FILE") or _DEFAULTS.vault_token_file,
        vault_managed_prefix=_managed_prefix(environment),
        vault=_peer(
            environment,
            "VAULT",
            namespace="kubernetes.io/metadata.name=vault",
            pods="app.kubernetes.io/name=vault",
            addresses=_addresses("VAULT_ADDR", vault_address, {"https": 443, "http": 80}),
        ),
        bus=_peer(
            environment,
            "BUS",
            namespace=f"kubernetes.io/metadata.name={namespace}",
            pods="app.kubernetes.io/name=nats",
            addresses=_addresses("NATS_URL", nats_url, {"nats": 4222, "tls": 4222}),
        ),
        dns=_peer(
            environment,
            "DNS",
            namespace="kubernetes.io/metadata.name=kube-system",
            pods="k8s-app=kube-dns",
            addresses=Addresses(_DEFAULTS.dns.ports),
            cidrs_replace_labels=False,
        ),
        api_server=Peer(
            ports=_ports(environment, "API_SERVER_PORTS", _DEFAULTS.api_server.ports),
            cidrs=_cidrs(environment, "API_SERVER_CIDRS") or _DEFAULTS.api_server.cidrs,
        ),
        monitoring=Peer(
            _labels("MONITORING_NAMESPACE_LABELS", environment.get("MONITORING_NAMESPACE_LABELS", "")),
            _labels("MONITORING_POD_LABELS", environment.get("MONITORING_POD_LABELS", "")),
            _DEFAULTS.monitoring.ports,
            _cidrs(environment, "MONITORING_CIDRS"),
        ),
        streams=_streams(environment),
        cluster_domain=environment.get("CLUSTER_DOMAIN", ""),
        http_port=int(_number(environment, "HTTP_PORT", _DEFAULTS.http_port, least=0)),
        admission_directory=environment.get("ADMISSION_DIRECTORY", ""),
        workers=int(_number(environment, "WORKERS", _DEFAULTS.workers, least=1)),
        gateway_restarts_at_once=int(
            _number(environment, "GATEWAY_RESTARTS_AT_ONCE", _DEFAULTS.gateway_restarts_at_once, least=1)
        ),
        agent_restarts_at_once=int(
            _number(environment, "AGENT_RESTARTS_AT_ONCE", _DEFAULTS.agent_restarts_at_once, least=1)
        ),
        agent_pull_secrets=names(environment.get("AGENT_PULL_SECRETS", "")),
        gateway_pull_secrets=names(environment.get("GATEWAY_PULL_SECRETS", "")),
        status_writes_per_second=_number(
            environment, "STATUS_WRITES_PER_SECOND", _DEFAULTS.status_writes_per_second, least=1
        ),
        resync_seconds=_number(environment, "RESYNC_SECONDS", _DEFAULTS.resync_seconds, least=1),
        stop_deadline_seconds=_number(environment, "STOP_DEADLINE_SECONDS", _DEFAULTS.stop_deadline_seconds, least=1),
        silent_after_seconds=_number(environment, "SILENT_AFTER_SECONDS", _DEFAULTS.silent_after_seconds, least=7),
        lease_name=_lease_name(environment),
        lease=_lease(environment),
        log_level=(environment.get("LOG_LEVEL") or _DEFAULTS.log_level).upper(),
        kubeconfig=environment.get("KUBECONFIG", ""),
    )


def _identity(environment: Mapping[str, str]) -> dict[str, str]:
    source = environment.get(IdentityVariable.SOURCE) or IdentitySource.NONE
    if source == IdentitySource.NONE:
        return {}
    return {name.value: environment[name] for name in IdentityVariable if environment.get(name)}


def _issuer(environment: Mapping[str, str]) -> Issuer | None:
    name = environment.get("CERTIFICATE_ISSUER_NAME", "")
    if not name:
        return None
    if environment.get(IdentityVariable.SOURCE) != IdentitySource.FILES:
        raise SettingsError(
            f"CERTIFICATE_ISSUER_NAME is {name!r}, and {IdentityVariable.SOURCE.value} is not Files: pods read what "
            "cert-manager writes as files, so set it to Files"
        )
    return Issuer(
        name,
        environment.get("CERTIFICATE_ISSUER_KIND") or "ClusterIssuer",
        environment.get("CERTIFICATE_ISSUER_GROUP") or "cert-manager.io",
    )


def _choice(environment: Mapping[str, str], name: str, default: Choice) -> Choice:
    text = environment.get(name, "")
    try:
        return type(default)(text) if text else default
    except ValueError:
        raise SettingsError(f"{name} is {text!r}: write one of {', '.join(type(default))}") from None


def _managed_prefix(environment: Mapping[str, str]) -> str:
    text = environment.get("VAULT_MANAGED_PREFIX") or _DEFAULTS.vault_managed_prefix
    if "/{namespace}/" not in text or not text.endswith("/"):
        raise SettingsError(
            f"VAULT_MANAGED_PREFIX is {text!r}: without /{{namespace}}/ in it and / at its end, venues of a namespace "
            f"could read the secrets of another; write one such as {_DEFAULTS.vault_managed_prefix}"
        )
    return text


def _vault_address(environment: Mapping[str, str]) -> str:
    text = environment.get("VAULT_ADDR", "")
    allowed = environment.get(IdentityVariable.VAULT_ALLOW_HTTP, "") == "true"
    try:
        if text:
            parse_addresses(text, allowed, IdentityVariable.VAULT_ALLOW_HTTP)
    except IdentitySettingsError as error:
        raise SettingsError(str(error)) from None
    return text


def _content(name: str, path: str) -> str:
    if not path:
        return ""
    try:
        return Path(path).read_text()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name} is {path!r}, and that file cannot be read: {error}") from None


def _streams(environment: Mapping[str, str]) -> StreamSettings:
    replicas = _number(environment, "BUS_REPLICAS", _DEFAULTS.streams.replicas, least=1)
    if replicas not in (1, 3, 5):
        raise SettingsError(f"BUS_REPLICAS is {replicas:g}: write 1, 3 or 5")
    journal = int(_number(environment, "JOURNAL_MAX_BYTES", _DEFAULTS.streams.journal_max_bytes, least=2**20))
    snapshots = int(_number(environment, "SNAPSHOTS_MAX_BYTES", _DEFAULTS.streams.snapshots_max_bytes, least=2**20))
    of_namespace = int(_number(environment, "NAMESPACE_MAX_BYTES", _DEFAULTS.streams.namespace_max_bytes, least=0))
    if 0 < of_namespace < journal + snapshots:
        raise SettingsError(
            f"NAMESPACE_MAX_BYTES is {of_namespace}, and one venue alone reserves {journal + snapshots} "
            "(JOURNAL_MAX_BYTES and SNAPSHOTS_MAX_BYTES): raise it, or write 0 for no bound"
        )
    return StreamSettings(
        journal,
        snapshots,
        of_namespace,
        int(replicas),
        int(_number(environment, "AUDIT_MAX_BYTES", _DEFAULTS.streams.audit_max_bytes, least=2**20)),
        int(_number(environment, "AUDIT_RETENTION_SECONDS", _DEFAULTS.streams.audit_retention_seconds, least=86_400)),
        int(
            _number(
                environment,
                "AUDIT_NAMESPACE_BYTES_PER_DAY",
                _DEFAULTS.streams.audit_namespace_bytes_per_day,
                least=0,
            )
        ),
    )


def _lease_name(environment: Mapping[str, str]) -> str:
    """Each shard has a Lease of its own, so that its operator works beside those of the others."""
    name, shard = environment.get("LEASE_NAME") or _DEFAULTS.lease_name, environment.get("SHARD", "")
    if not shard:
        return name
    if not _SHARD.fullmatch(shard):
        raise SettingsError(f"SHARD is {shard!r}: write small letters, digits and dashes, at most 40, such as fx-1")
    return f"{name}-{shard}"


def _lease(environment: Mapping[str, str]) -> LeaseTimes:
    times = LeaseTimes(
        duration=_number(environment, "LEASE_DURATION_SECONDS", _DEFAULTS.lease.duration, least=1),
        renew=_number(environment, "LEASE_RENEW_SECONDS", _DEFAULTS.lease.renew, least=0.5),
        retry=_number(environment, "LEASE_RETRY_SECONDS", _DEFAULTS.lease.retry, least=0.1),
    )
    if not times.duration > times.renew > times.retry:
        raise SettingsError(
            "LEASE_DURATION_SECONDS must be longer than LEASE_RENEW_SECONDS, and that longer than LEASE_RETRY_SECONDS: "
            f"found {times.duration:g}, {times.renew:g} and {times.retry:g}; write for example 15, 10 and 2"
        )
    return times


def _number(environment: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}: write a number such as {default:g}") from None
    if not least <= value < float("inf"):
        raise SettingsError(f"{name} is {text!r}: write a number of at least {least:g}, such as {default:g}")
    return value


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a URL says for a NetworkPolicy: its ports, and the hosts that are addresses, as networks of one."""

    ports: tuple[int, ...]
    hosts: tuple[str, ...] = ()


def _addresses(name: str, urls: str, ports: Mapping[str, int]) -> Addresses:
    """Reads URLs separated by commas; `ports` are those of the schemes, where a URL has none."""
    found, hosts = [], []
    for url in filter(None, (part.strip() for part in urls.split(","))):
        try:
            parts = urlsplit(url)
            found.append(parts.port or ports[parts.scheme])
        except (ValueError, KeyError):
            advice = f"write a URL such as {next(iter(ports))}://HOST:PORT"
            raise SettingsError(f"{name} is {url!r}: {advice}") from None
        with contextlib.suppress(ValueError):
            hosts.append(str(ipaddress.ip_network(parts.hostname or "")))
    return Addresses(tuple(sorted(set(found))), tuple(sorted(set(hosts))))


def _peer(
    environment: Mapping[str, str],
    prefix: str,
    *,
    namespace: str,
    pods: str,
    addresses: Addresses,
    cidrs_replace_labels: bool = True,
) -> Peer:
    """Labels and networks from the environment. `namespace` and `pods` are the labels where it says nothing, unless
    networks are given, which are then all."""
    cidrs = _cidrs(environment, f"{prefix}_CIDRS") or addresses.hosts
    if cidrs and cidrs_replace_labels:
        namespace = pods = ""
    peer = Peer(
        _labels(f"{prefix}_NAMESPACE_LABELS", environment.get(f"{prefix}_NAMESPACE_LABELS", namespace)),
        _labels(f"{prefix}_POD_LABELS", environment.get(f"{prefix}_POD_LABELS", pods)),
        addresses.ports,
        cidrs,
    )
    if not peer:
        raise SettingsError(
            f"{prefix}_NAMESPACE_LABELS, {prefix}_POD_LABELS and {prefix}_CIDRS are empty: write where it is, or "
            "NetworkPolicies would let nothing through"
        )
    return peer


def _cidrs(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = environment.get(name, "")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(str(ipaddress.ip_network(part)) for part in parts)
    except ValueError:
        raise SettingsError(
            f"{name} is {text!r}: write networks separated by commas, such as 10.0.0.0/24,fd00:1::/64"
        ) from None


def _ports(environment: Mapping[str, str], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    text = environment.get(name, "")
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 65536 for part in parts):
        raise SettingsError(f"{name} is {text!r}: write ports separated by commas, such as 443,6443")
    return tuple(map(int, parts)) or default


def _labels(name: str, text: str) -> dict[str, str]:
    labels = {}
    for part in filter(None, (item.strip() for item in text.split(","))):
        key, separator, value = part.partition("=")
        if not separator or not key:
            raise SettingsError(f"{name} is {text!r}: write labels as key=value,key=value")
        labels[key] = value
    return labels
