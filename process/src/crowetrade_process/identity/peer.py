"""Whom to let in: what the certificate of a peer says of it, and what was revoked.

The TLS library has checked before that the certificate is valid now and that an authority of ours has issued it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256

from crowetrade_process.identity.credentials import uris_of
from crowetrade_process.identity.errors import IdentityError, IdentityUnavailable
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.source import Trust


class Reason(StrEnum):
    """Why a peer is refused; values of the label `reason`."""

    NO_CERTIFICATE = "NoCertificate"
    UNREADABLE = "Unreadable"
    OLD_PROTOCOL = "OldProtocol"
    NO_IDENTITY = "NoIdentity"
    SEVERAL_IDENTITIES = "SeveralIdentities"
    WRONG_IDENTITY = "WrongIdentity"
    FOREIGN_TRUST_DOMAIN = "ForeignTrustDomain"
    OTHER_NAME = "OtherName"
    WRONG_KEY = "WrongKey"
    EXPIRED = "Expired"
    NOT_YET_VALID = "NotYetValid"
    FOREIGN_AUTHORITY = "ForeignAuthority"
    REVOKED = "Revoked"
    REVOCATION_UNKNOWN = "RevocationUnknown"
    NOT_PERMITTED = "NotPermitted"
    LOGON_DISAGREES = "LogonDisagrees"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why, as a label and as a sentence for the peer."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Revocations:
    """What the authorities have revoked: lists by the name of their issuer."""

    lists: Sequence[x509.CertificateRevocationList] | None = field(default=None, repr=False)
    issuers: Sequence[x509.Certificate] = field(default=(), repr=False)

    @classmethod
    def read(cls, trust: Trust) -> Revocations:
        """The lists that an authority of ours has signed. Raises IdentityUnavailable when one is nobody's."""
        if trust.revocations_pem is None:
            return cls()
        try:
            issuers = x509.load_pem_x509_certificates(trust.bundle_pem)
            lists = [x509.load_pem_x509_crl(pem) for pem in _crl_blocks(trust.revocations_pem)]
        except ValueError as error:
            raise IdentityUnavailable(f"the revocation lists cannot be read as PEM: {error}") from error
        for item in lists:
            if not any(_signed(item, issuer) for issuer in issuers):
                raise IdentityUnavailable(
                    f"the revocation list of {item.issuer.rfc4514_string()!r} is signed by no authority of the bundle"
                )
        return cls(lists, issuers)

    def revoked(self) -> frozenset[tuple[x509.Name, int]]:
        """Authority and serial number of every certificate that a list names."""
        return frozenset((item.issuer, entry.serial_number) for item in self.lists or () for entry in item)

    def ends_at(self) -> float:
        """When the first authority with a list has none in force any more: Unix time, infinite where lists do not end;
        0 without lists, and -1 where there should be some."""
        if self.lists is None:
            return 0.0
        ends: dict[bytes, float] = {}
        for item in self.lists:
            end = item.next_update_utc.timestamp() if item.next_update_utc is not None else math.inf
            signer = next(one for one in self.issuers if _signed(item, one)).fingerprint(SHA256())
            ends[signer] = max(end, ends.get(signer, -math.inf))
        return min(ends.values(), default=-1.0)

    def judge(self, certificate: x509.Certificate, now: datetime) -> Refusal | None:
        """Nothing when it is not revoked. Where there are lists, its authority must have one that is up to date."""
        if self.lists is None:
            return None
        mine = [item for item in self.lists if item.issuer == certificate.issuer and self._issued(item, certificate)]
        if any(item.get_revoked_certificate_by_serial_number(certificate.serial_number) for item in mine):
            return Refusal(
                Reason.REVOKED, f"the certificate with serial number {certificate.serial_number:x} is revoked"
            )
        if not any(item.next_update_utc is None or now <= item.next_update_utc for item in mine):
            return Refusal(
                Reason.REVOCATION_UNKNOWN,
                f"there is no revocation list of {certificate.issuer.rfc4514_string()!r} that is up to date: in "
                "Vault set auto_rebuild at config/crl",
            )
        return None

    def _issued(self, item: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
        """Whether the authority that signed the list has issued the certificate: two may have the same name."""
        return any(_signed(item, issuer) and _issued(certificate, issuer) for issuer in self.issuers)


def judge(
    certificate: x509.Certificate, trust_domain: str, revocations: Revocations, now: datetime
) -> IdentityName | Refusal:
    """Who shows this certificate, or why it is refused."""
    try:
        uris = uris_of(certificate)
    except IdentityError as error:
        return Refusal(Reason.UNREADABLE, f"the certificate {error}")
    if len(uris) > 1:
        return Refusal(
            Reason.SEVERAL_IDENTITIES, f"the certificate has {len(uris)} URI names: it must have exactly one"
        )
    if not uris:
        return Refusal(Reason.NO_IDENTITY, "the certificate has no URI name: it must have exactly one")
    try:
        name = IdentityName.parse(uris[0])
    except IdentityError as error:
        return Refusal(Reason.WRONG_IDENTITY, f"the URI name of the certificate: {error}")
    if name.trust_domain != trust_domain:
        return Refusal(Reason.FOREIGN_TRUST_DOMAIN, f"{name} is of another trust domain than {trust_domain}")
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return Refusal(Reason.WRONG_KEY, f"the key of {name} is no EC key on P-256")
    if now > certificate.not_valid_after_utc:
        return Refusal(Reason.EXPIRED, f"the certificate of {name} has expired")
    if now < certificate.not_valid_before_utc:
        return Refusal(Reason.NOT_YET_VALID, f"the certificate of {name} is not valid yet")
    return revocations.judge(certificate, now) or name


def _signed(item: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = cast("CertificateIssuerPublicKeyTypes", issuer.public_key())
    return item.issuer == issuer.subject and item.is_signature_valid(key)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _crl_blocks(pem: bytes) -> list[bytes]:
    end = b"-----END X509 CRL-----"
    return [block + end for block in pem.split(end)[:-1]]
