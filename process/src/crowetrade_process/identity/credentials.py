"""A certificate with its key and the authorities that its holder trusts, read and checked.

Keys are EC P-256 alone: see grpc.py for why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from crowetrade_process.identity.errors import IdentityError, IdentityUnavailable
from crowetrade_process.identity.name import IdentityName


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a process shows to its peers. PEM, the leaf first; times in UTC."""

    name: IdentityName
    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    bundle_pem: bytes = field(repr=False)
    not_before: datetime
    not_after: datetime
    serial: int
    dns_names: frozenset[str]

    @classmethod
    def read(
        cls, chain_pem: bytes, key_pem: bytes, bundle_pem: bytes, trust_domain: str | None, now: datetime
    ) -> Credentials:
        """Checks that they fit together, belong to the trust domain (if any is given) and are valid now. Raises
        IdentityUnavailable."""
        chain = _certificates(chain_pem, "the certificate")
        leaf, bundle = chain[0], _certificates(bundle_pem, "the CA bundle")
        try:
            name = name_of(leaf)
        except IdentityError as error:
            raise IdentityUnavailable(f"the certificate {error}") from error
        if trust_domain is not None and name.trust_domain != trust_domain:
            raise IdentityUnavailable(
                f"the certificate is for {name}, and the trust domain is {trust_domain}: set both to the same"
            )
        _check_key(leaf, key_pem)
        _check_time(leaf, now)
        _check_chain(leaf, chain[1:], bundle, now)
        return cls(
            name=name,
            chain_pem=chain_pem,
            key_pem=key_pem,
            bundle_pem=bundle_pem,
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            serial=leaf.serial_number,
            dns_names=frozenset(map(str.lower, _alternative_names(leaf, x509.DNSName))),
        )


def name_of(certificate: x509.Certificate) -> IdentityName:
    """The one identity in a certificate. Raises IdentityError with the end of a sentence about the certificate."""
    uris = uris_of(certificate)
    if len(uris) != 1:
        raise IdentityError(f"has {len(uris) or 'no'} URI names: it must have exactly one")
    try:
        return IdentityName.parse(uris[0])
    except IdentityError as error:
        raise IdentityError(f"has a URI name that is no identity: {error}") from error


def uris_of(certificate: x509.Certificate) -> list[str]:
    """The URIs among its alternative names. Raises IdentityError when they cannot be read."""
    return _alternative_names(certificate, x509.UniformResourceIdentifier)


def _alternative_names(
    certificate: x509.Certificate, kind: type[x509.DNSName | x509.UniformResourceIdentifier]
) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except (ValueError, x509.DuplicateExtension) as error:
        raise IdentityError(f"has names that cannot be read: {error}") from error
    return names.get_values_for_type(kind)


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise IdentityUnavailable(f"{what} cannot be read as PEM: {error}") from error


def _check_key(leaf: x509.Certificate, key_pem: bytes) -> None:
    try:
        key = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise IdentityUnavailable("the private key cannot be read as PEM without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise IdentityUnavailable("the private key is no EC key on P-256: issue the certificate for such a key")
    if key.public_key() != leaf.public_key():
        raise IdentityUnavailable("the private key does not belong to the certificate: were both files replaced?")


def _check_time(leaf: x509.Certificate, now: datetime) -> None:
    if now > leaf.not_valid_after_utc:
        raise IdentityUnavailable(f"the certificate has expired at {leaf.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
    if now < leaf.not_valid_before_utc:
        raise IdentityUnavailable(
            f"the certificate is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC: set the clock"
        )


def _check_chain(
    leaf: x509.Certificate, intermediates: list[x509.Certificate], bundle: list[x509.Certificate], now: datetime
) -> None:
    # The certificates of authorities are held to the rules of the web; of the leaf's extensions we read one.
    policy = (
        PolicyBuilder()
        .store(Store(bundle))
        .time(now.astimezone(UTC).replace(tzinfo=None))
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all())
    )
    try:
        policy.build_client_verifier().verify(leaf, intermediates)
    except VerificationError as error:
        raise IdentityUnavailable(f"the CA bundle does not confirm the certificate: {error}") from error
