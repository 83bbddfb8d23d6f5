"""A real Vault for tests, by TLS with an authority of its own: Kubernetes logins against the API server of the tests,
and a PKI that fills in who may ask for which identity."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crowetrade_operator_tests.servers import TOKEN, ApiServer, Process, free_port, program, wait_for

ROOT_TOKEN = "test-root-token"
PKI, AUTH, ROLE, AUTH_ROLE = "crowetrade-pki", "kubernetes", "crowetrade", "crowetrade-identity"
AUDIENCE = "vault"
TRUST_DOMAIN = "crowetrade.local"


class Vault:
    """One server in development mode: in memory, unsealed, and with a root token."""

    def __init__(self, folder: Path) -> None:
        certificates = folder / "vault-certificates"
        certificates.mkdir()
        self.port = free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        self.ca_file = certificates / "vault-ca.pem"
        plugin = program("vault-plugin-auth-kubernetes")
        self._process = Process(
            "vault",
            [
                program("vault"),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-root-token-id={ROOT_TOKEN}",
                f"-dev-listen-address=127.0.0.1:{self.port}",
                f"-dev-plugin-dir={plugin.parent}",
                "-dev-tls",
                f"-dev-tls-cert-dir={certificates}",
            ],
            folder,
        )
        deadline = time.monotonic() + 60
        while not self.ca_file.is_file():
            self._process.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"Vault did not start:\n{self._process.tail()}")
            time.sleep(0.05)
        self._context = ssl.create_default_context(cafile=str(self.ca_file))
        wait_for(self._process, f"{self.address}/v1/sys/health", self._context)

    def stop(self) -> None:
        """Ends it; it forgets everything."""
        self._process.stop()

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As root."""
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"X-Vault-Token": ROOT_TOKEN},
        )
        try:
            with urllib.request.urlopen(request, context=self._context, timeout=30) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"Vault answers {error.code} to {method} {path}: {error.read().decode()}") from error
        return dict(json.loads(said)) if said else {}

    def set_up(self, server: ApiServer, lifetime: str = "1h") -> None:
        """Logins, PKI and policy."""
        self.call("POST", f"sys/auth/{AUTH}", {"type": "vault-plugin-auth-kubernetes"})
        authority = (server.kubeconfig.parent / "certificates" / "apiserver.crt").read_text()
        self.call(
            "POST",
            f"auth/{AUTH}/config",
            {
                "kubernetes_host": server.url,
                "kubernetes_ca_cert": authority,
                "token_reviewer_jwt": TOKEN,
                "disable_local_ca_jwt": True,
            },
        )
        self.call(
            "POST",
            f"auth/{AUTH}/role/{AUTH_ROLE}",
            {
                "bound_service_account_names": "*",
                "bound_service_account_namespaces": "*",
                "audience": AUDIENCE,
                "token_policies": AUTH_ROLE,
                "token_ttl": "5m",
                "token_type": "batch",
            },
        )
        self.call(
            "PUT",
            f"sys/policies/acl/{AUTH_ROLE}",
            {"policy": f'path "{PKI}/sign/{ROLE}" {{ capabilities = ["update"] }}'},
        )
        self.call("POST", f"sys/mounts/{PKI}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        self.call("POST", f"{PKI}/config/crl", {"auto_rebuild": True, "expiry": "72h"})
        self.add_authority("first")
        accessor = self.call("GET", "sys/auth")["data"][f"{AUTH}/"]["accessor"]
        of_login = f"identity.entity.aliases.{accessor}.metadata"
        namespace = f"{{{{{of_login}.service_account_namespace}}}}"
        account = f"{{{{{of_login}.service_account_name}}}}"
        self.call(
            "POST",
            f"{PKI}/roles/{ROLE}",
            {
                "allowed_uri_sans": f"spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}",
                "allowed_uri_sans_template": True,
                "allowed_domains": [f"{account}.{namespace}.svc", f"{account}.{namespace}.svc.cluster.local"],
                "allowed_domains_template": True,
                "allow_bare_domains": True,
                "allow_ip_sans": False,
                "allow_localhost": False,
                "key_type": "ec",
                "key_bits": 256,
                "require_cn": False,
                "use_csr_common_name": False,
                "ttl": lifetime,
                "max_ttl": "24h",
            },
        )

    def add_authority(self, name: str) -> str:
        """Makes another issuer of the mount and returns its id; who issues stays who it was."""
        made = self.call(
            "POST",
            f"{PKI}/issuers/generate/root/internal",
            {
                "common_name": f"CroweTrade {name}",
                "issuer_name": name,
                "key_type": "ec",
                "key_bits": 256,
                "ttl": "8760h",
            },
        )
        return str(made["data"]["issuer_id"])

    def issue_by(self, issuer: str) -> None:
        """From now on this issuer signs."""
        self.call("POST", f"{PKI}/config/issuers", {"default": issuer})

    def remove_authority(self, issuer: str) -> None:
        """Its certificates are trusted no longer."""
        self.call("DELETE", f"{PKI}/issuer/{issuer}")

    def revoke(self, serial: int) -> None:
        """A certificate, by its number."""
        digits = f"{serial:x}"
        digits = digits.zfill(len(digits) + len(digits) % 2)
        self.call("POST", f"{PKI}/revoke", {"serial_number": ":".join(_pairs(digits))})
        self.call("GET", f"{PKI}/crl/rotate")


def _pairs(digits: str) -> list[str]:
    return [digits[place : place + 2] for place in range(0, len(digits), 2)]


def service_account_token(
    server: ApiServer, namespace: str, account: str, audience: str = AUDIENCE, seconds: int = 600
) -> str:
    """A token as the kubelet projects it, valid for so many seconds."""
    context = ssl.create_default_context(cafile=str(server.kubeconfig.parent / "certificates" / "apiserver.crt"))
    request = urllib.request.Request(
        f"{server.url}/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token",
        data=json.dumps({"spec": {"audiences": [audience], "expirationSeconds": seconds}}).encode(),
        method="POST",
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, context=context, timeout=30) as answer:
        return str(json.loads(answer.read())["status"]["token"])
