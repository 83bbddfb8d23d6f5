"""Certificate authorities for tests, and the certificates that they issue: good ones and every kind of bad one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from crowetrade_process.identity.files import BUNDLE_FILE, CERTIFICATE_FILE, KEY_FILE, REVOCATIONS_FILE
from crowetrade_process.identity.name import IdentityName

TRUST_DOMAIN = "crowetrade.local"
HOUR = timedelta(hours=1)
_numbers = itertools.count(1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def identity_name(account: str, namespace: str = "desk", trust_domain: str = TRUST_DOMAIN) -> IdentityName:
    """A name in the trust domain of the tests."""
    return IdentityName(trust_domain, namespace, account)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, as PEM."""

    certificate: x509.Certificate
    key_pem: bytes

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass
class Authority:
    """A certificate authority whose own certificate is valid for a day around now."""

    common_name: str = field(default_factory=lambda: f"authority {next(_numbers)}")
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.common_name)])
        now = datetime.now(UTC)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 24 * HOUR)
            .not_valid_after(now + 24 * HOUR)
            .add_extension(x509.BasicConstraints(True, None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .sign(self.key, SHA256())
        )

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Its private key."""
        return _pem(self.key)

    def issue(
        self,
        *uris: str,
        dns_names: Sequence[str] = (),
        key: Key | None = None,
        not_before: datetime | None = None,
        lifetime: timedelta = HOUR,
    ) -> Issued:
        """A certificate with these names, valid from a minute ago unless told otherwise."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        begins = not_before or datetime.now(UTC) - timedelta(minutes=1)
        names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns_names)]
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(begins + lifetime)
            .add_extension(authority_key, False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), True)
        return Issued(builder.sign(self.key, SHA256()), _pem(key))

    def issue_to(
        self,
        name: IdentityName,
        *,
        key: Key | None = None,
        not_before: datetime | None = None,
        lifetime: timedelta = HOUR,
    ) -> Issued:
        """A certificate with every name that Vault gives to an identity of ours."""
        dns_names = (name.dns_name, f"{name.dns_name}.cluster.local", name.pods_dns_name)
        return self.issue(name.uri, dns_names=dns_names, key=key, not_before=not_before, lifetime=lifetime)

    def revocations(self, *revoked: Issued | x509.Certificate, next_update: timedelta = HOUR) -> bytes:
        """Its revocation list, PEM; valid from two hours ago."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - 2 * HOUR)
            .next_update(now + next_update)
        )
        for item in revoked:
            certificate = item.certificate if isinstance(item, Issued) else item
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, SHA256()).public_bytes(Encoding.PEM)


def _pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def write_identity(directory: Path, issued: Issued, *trusted: Authority, revocations: bytes = b"") -> Path:
    """The files of source Files; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / CERTIFICATE_FILE).write_bytes(issued.pem)
    (directory / KEY_FILE).write_bytes(issued.key_pem)
    (directory / BUNDLE_FILE).write_bytes(b"".join(authority.pem for authority in trusted))
    if revocations:
        (directory / REVOCATIONS_FILE).write_bytes(revocations)
    return directory
