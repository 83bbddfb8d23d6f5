"""Signed checkpoints: the writer's key vouches for its chain up to a record. Pure.

What is signed names the writer, the record, its hash and the time (`signed_bytes`).
Certificates live for an hour, so a checkpoint is judged at its own time: the certificate must have been valid then, be
issued by one of the authorities that the verifier trusts, and name the writer in its only URI SAN.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.chain import Head
from crowetrade_process.audit.errors import AuditBroken
from crowetrade_process.identity.credentials import Credentials, name_of
from crowetrade_process.identity.errors import IdentityError

_DOMAIN = "crowetrade.audit.v1.Checkpoint"
_ALGORITHM = ec.ECDSA(hashes.SHA256())


def signed_bytes(writer: str, sequence: int, record_hash: bytes, recorded_unix_ns: int) -> bytes:
    """What the signature of a checkpoint is over."""
    return "\n".join((_DOMAIN, writer, str(sequence), record_hash.hex(), str(recorded_unix_ns))).encode()


def checkpoint(head: Head, writer: str, now_ns: int, credentials: Credentials | None) -> audit_pb2.Checkpoint:
    """Vouches for the chain up to `head` in a record of time `now_ns`; unsigned without credentials."""
    made = audit_pb2.Checkpoint(sequence=head.sequence, hash=head.record_hash)
    if credentials is None:
        return made
    key = load_pem_private_key(credentials.key_pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "credentials hold no other keys"
    made.certificate_chain = credentials.chain_pem
    made.signature = key.sign(signed_bytes(writer, head.sequence, head.record_hash, now_ns), _ALGORITHM)
    return made


class Authorities:
    """Whose certificates are believed."""

    def __init__(self, pem: bytes) -> None:
        """One or more certificates, old ones too. Raises ValueError when there is none."""
        self._store = Store(x509.load_pem_x509_certificates(pem))

    def check(self, leaf: x509.Certificate, others: list[x509.Certificate], at: datetime) -> str:
        """Why a certificate is not believed at a time; empty when it is."""
        # As peers are judged: the certificates of authorities are held to the rules of the web, the leaf has our name.
        policy = (
            PolicyBuilder()
            .store(self._store)
            .time(at.replace(tzinfo=None))
            .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all())
        )
        try:
            policy.build_client_verifier().verify(leaf, others)
        except (VerificationError, ValueError) as error:
            return str(error)
        return ""


def check_checkpoint(record: audit_pb2.AuditRecord, before: Head, authorities: Authorities | None) -> bool:
    """Whether a checkpoint that follows `before` is signed. Raises AuditBroken when it vouches for another record, or
    when its signature, certificate or name is wrong. Without authorities the certificate is taken at its word."""
    where = f"checkpoint {record.sequence} of {record.writer}"
    said = record.checkpoint
    if (said.sequence, said.hash) != (before.sequence, before.record_hash):
        raise AuditBroken(f"{where} vouches for record {said.sequence} and stands after record {before.sequence}")
    if not said.signature and not said.certificate_chain:
        return False
    try:
        leaf, *others = x509.load_pem_x509_certificates(said.certificate_chain)
        name, key = name_of(leaf), leaf.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AuditBroken(f"{where} carries a certificate that cannot be read: {error}") from error
    except IdentityError as error:
        raise AuditBroken(f"the certificate of {where} {error}") from error
    if f"{name.namespace}.{name.service_account}" != record.writer:
        raise AuditBroken(f"{where} is signed by {name}, who is not {record.writer}")
    text = signed_bytes(record.writer, said.sequence, said.hash, record.recorded_unix_ns)
    try:
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise AuditBroken(f"{where} is not signed with an EC key")
        key.verify(said.signature, text, _ALGORITHM)
    except InvalidSignature:
        raise AuditBroken(f"the signature of {where} is wrong") from None
    at = datetime.fromtimestamp(record.recorded_unix_ns / 1e9, UTC)
    if authorities is not None and (why := authorities.check(leaf, others, at)):
        raise AuditBroken(f"the certificate of {where} is not believed: {why}")
    return True
