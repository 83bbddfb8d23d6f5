"""Signed checkpoints: the writer's key vouches for its chain up to a record. Pure.

What is signed names the writer, the record, its hash and the time (`signed_bytes`).
Certificates live for an hour, so a checkpoint is judged at its own time: the certificate must have been valid then, be
issued by one of the authorities that the verifier trusts, and name the writer in its only URI SAN.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from crowetrade.audit.v1 import audit_pb2
from crowetrade_process.audit.chain import Head
from crowetrade_process.audit.errors import AuditBroken

_DOMAIN = "crowetrade.audit.v1.Checkpoint"
_ALGORITHM = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What a writer signs with: certificate and intermediates, and the key (EC P-256), both PEM."""

    chain_pem: bytes
    key_pem: bytes


def signed_bytes(writer: str, sequence: int, record_hash: bytes, recorded_unix_ns: int) -> bytes:
    """What the signature of a checkpoint is over."""
    return "\n".join((_DOMAIN, writer, str(sequence), record_hash.hex(), str(recorded_unix_ns))).encode()


def checkpoint(head: Head, writer: str, now_ns: int, key: SigningKey | None) -> audit_pb2.Checkpoint:
    """Vouches for the chain up to `head` in a record of time `now_ns`; unsigned without a key."""
    made = audit_pb2.Checkpoint(sequence=head.sequence, hash=head.record_hash)
    if key is None:
        return made
    private = load_pem_private_key(key.key_pem, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("checkpoints are signed with EC keys alone")
    made.certificate_chain = key.chain_pem
    made.signature = private.sign(signed_bytes(writer, head.sequence, head.record_hash, now_ns), _ALGORITHM)
    return made


class Authorities:
    """Whose certificates are believed."""

    def __init__(self, pem: bytes) -> None:
        """One or more certificates, old ones too. Raises ValueError when there is none."""
        self._store = Store(x509.load_pem_x509_certificates(pem))

    def check(self, leaf: x509.Certificate, others: list[x509.Certificate], at: datetime) -> str:
        """Why a certificate is not believed at a time; empty when it is."""
        verifier = PolicyBuilder().store(self._store).time(at).build_client_verifier()
        try:
            verifier.verify(leaf, others)
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
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        key = leaf.public_key()
    except (ValueError, x509.ExtensionNotFound, UnsupportedAlgorithm) as error:
        raise AuditBroken(f"{where} carries a certificate that cannot be read: {error}") from error
    if len(uris) != 1 or writer_of(uris[0]) != record.writer:
        raise AuditBroken(f"{where} is signed by {', '.join(uris) or 'nobody'}, who is not {record.writer}")
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


def writer_of(uri: str) -> str:
    """The writer that spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT names; empty for any other URI."""
    scheme, _, rest = uri.partition("://")
    parts = rest.split("/")
    if scheme != "spiffe" or len(parts) != 5 or (parts[1], parts[3]) != ("ns", "sa") or not all(parts):
        return ""
    return f"{parts[2]}.{parts[4]}"
