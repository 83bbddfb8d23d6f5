"""A real Vault for tests, by TLS with an authority of its own: Kubernetes logins against the API server of the tests,
its secret engines, and a PKI that fills in who may ask for which identity."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tools.localcluster import certificates

from crowetrade_operator_tests.servers import TOKEN, ApiServer, Process, free_port, program, wait_for

ROOT_TOKEN = "test-root-token"
PKI, AUTH, ROLE, AUTH_ROLE = "crowetrade-pki", "kubernetes", "crowetrade", "crowetrade-identity"
AUDIENCE = "vault"
TRUST_DOMAIN = "crowetrade.local"
METHOD = "vault-plugin-auth-kubernetes"
DATABASE_PLUGIN = "vault-plugin-database-redis"


def skip_without_vault() -> None:
    """Skips the test where its programs are not built."""
    try:
        for name in ("vault", METHOD, "kube-apiserver"):
            program(name)
    except RuntimeError as error:
        pytest.skip(f"a real Vault is needed: {error}")


class Vault:
    """A server in development mode: in memory, unsealed, and with a root token. It listens by TLS, and for root on this
    machine without; the Kubernetes method knows the API server."""

    def __init__(self, folder: Path, api: ApiServer) -> None:
        self._folder = folder
        self.port = free_port()
        self._inside = free_port()
        self.address = f"https://127.0.0.1:{self.port}"
        self.server_name = "localhost"
        files = certificates.make([self.server_name])
        for name, text in files.items():
            (folder / name).write_text(text)
        self.ca_file = folder / "ca.crt"
        self.authority = files["ca.crt"]
        self._api = api
        self._process: Process | None = None

    def start(self) -> None:
        """Starts it, empty but for the Kubernetes method."""
        listener = self._folder / "listener.hcl"
        listener.write_text(
            f'listener "tcp" {{\n  address = "127.0.0.1:{self.port}"\n'
            f'  tls_cert_file = "{self._folder}/tls.crt"\n  tls_key_file = "{self._folder}/tls.key"\n}}\n'
        )
        # Vault takes plugins of one folder, and none by a link that leads out of it.
        plugins = self._folder / "plugins"
        plugins.mkdir(exist_ok=True)
        for plugin in (METHOD, DATABASE_PLUGIN):
            with contextlib.suppress(RuntimeError):
                shutil.copy2(program(plugin), plugins)
        self._process = Process(
            "vault",
            [
                program("vault"),
                "server",
                "-dev",
                "-dev-no-store-token",
                f"-dev-root-token-id={ROOT_TOKEN}",
                f"-dev-plugin-dir={plugins}",
                f"-dev-listen-address=127.0.0.1:{self._inside}",
                f"-config={listener}",
            ],
            self._folder,
        )
        wait_for(self._process, f"http://127.0.0.1:{self._inside}/v1/sys/health")
        self.call("POST", f"sys/auth/{AUTH}", {"type": METHOD})
        self.call(
            "POST",
            f"auth/{AUTH}/config",
            {
                "kubernetes_host": self._api.url,
                "kubernetes_ca_cert": (self._api.kubeconfig.parent / "certificates/apiserver.crt").read_text(),
                "token_reviewer_jwt": TOKEN,
                "disable_local_ca_jwt": True,
            },
        )

    def stop(self) -> None:
        """Ends it; it forgets everything."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Vault's API as root."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._inside}/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"X-Vault-Token": ROOT_TOKEN},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"Vault answers {error.code} to {method} {path}: {error.read().decode()}") from error
        return dict(json.loads(said)) if said else {}

    def set_up_identities(self, lifetime: str = "1h") -> None:
        """A PKI, and the login and policy by which every service account has its own certificate."""
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
                "allowed_domains": [
                    f"{account}.{namespace}.svc",
                    f"{account}.{namespace}.svc.cluster.local",
                    f"*.{account}.{namespace}.svc",
                ],
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

    def run(self, *arguments: str, stdin: str | None = None, missing: str | None = None) -> str:
        """Vault's command line as root; `missing` is returned where there is nothing to list."""
        environment = {"VAULT_ADDR": f"http://127.0.0.1:{self._inside}", "VAULT_TOKEN": ROOT_TOKEN}
        done = subprocess.run(
            [program("vault"), *arguments],
            input=stdin,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 2 and missing is not None:
            return missing
        assert done.returncode == 0, f"vault {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def put(self, path: str, **fields: str) -> None:
        """A new version of a secret of the KV engine; values go through standard input, as in no list of processes."""
        self.run("kv", "put", f"secret/{path}", "-", stdin=json.dumps(fields))

    def allow(self, policy: str, *paths: str) -> None:
        """A policy that lets these paths be read."""
        rules = "".join(f'path "{path}" {{ capabilities = ["read"] }}\n' for path in paths)
        self.run("policy", "write", policy, "-", stdin=rules)

    def bind(self, role: str, namespace: str, account: str, ttl: str = "10m") -> None:
        """A role, with the policy of its name, for a service account."""
        self.run(
            "write",
            f"auth/kubernetes/role/{role}",
            f"bound_service_account_names={account}",
            f"bound_service_account_namespaces={namespace}",
            "audience=vault",
            f"token_policies={role}",
            f"token_ttl={ttl}",
        )

    def seal(self) -> None:
        """Seals it."""
        self.run("operator", "seal")

    def unseal(self) -> None:
        """Unseals it with the key that a development server prints."""
        assert self._process is not None
        said = self._process.log.read_text()
        key = said.partition("Unseal Key: ")[2].split()[0]
        self.run("operator", "unseal", key)

    def login(self, role: str, token: str) -> str:
        """The token that Vault gives a service account."""
        return self.run("write", "-field=token", "auth/kubernetes/login", f"role={role}", f"jwt={token}").strip()

    def answer(self, token: str, path: str) -> int:
        """The HTTP status of a read with a token."""
        request = urllib.request.Request(f"http://127.0.0.1:{self._inside}/v1/{path}", headers={"X-Vault-Token": token})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return int(error.code)


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
