"""The name in a certificate: a SPIFFE ID of a Kubernetes service account (SPIFFE-ID specification, section 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from crowetrade_process.identity.errors import IdentityError

_TRUST_DOMAIN = r"[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?"
# A DNS label and a DNS subdomain (RFC 1123), as Kubernetes takes them for namespaces and service accounts.
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_URI = re.compile(rf"spiffe://(?P<domain>{_TRUST_DOMAIN})/ns/(?P<namespace>{_LABEL})/sa/(?P<account>{_SUBDOMAIN})")
_MAX_URI = 2048
"""Bytes, by the SPIFFE-ID specification, section 2.3."""


@dataclass(frozen=True, slots=True)
class IdentityName:
    """A service account in a trust domain."""

    trust_domain: str
    namespace: str
    service_account: str

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Reads `spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`. Raises IdentityError."""
        match = _URI.fullmatch(uri) if len(uri) <= _MAX_URI else None
        if match is None:
            raise IdentityError(
                f"{uri[:256]!r} names no identity: write spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"
            )
        return cls(match["domain"], match["namespace"], match["account"])

    @property
    def uri(self) -> str:
        """The name as the certificate holds it."""
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @property
    def dns_name(self) -> str:
        """The name by which clients check it as a server: its Service's."""
        return service_dns_name(self.namespace, self.service_account)

    @property
    def pods_dns_name(self) -> str:
        """The names of the pods of a StatefulSet behind that Service, each of which has one."""
        return f"*.{self.dns_name}"

    @property
    def inbox_prefix(self) -> str:
        """Where answers to its requests on the bus go. Kubernetes names hold no underscore, so no two identities share
        a prefix, nor lies one's below another's."""
        return f"_INBOX.{self.namespace}.{self.service_account.replace('.', '_')}"

    def __str__(self) -> str:
        return self.uri


def service_dns_name(namespace: str, service: str) -> str:
    """The name of a Service inside the cluster."""
    return f"{service}.{namespace}.svc"
