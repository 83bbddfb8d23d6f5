"""By what the API server knows the webhook, and the webhook the API server. Made once, kept in a Secret.

The API server shows no certificate to webhooks. It knows the path, which holds a token: whoever may read the
ValidatingWebhookConfiguration or the Secret could say that somebody asks for something, and nobody else.
"""

from __future__ import annotations

import secrets
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CERTIFICATE, KEY, TOKEN = "tls.crt", "tls.key", "token"
LIFETIME = timedelta(days=3650)


def dns_name(namespace: str) -> str:
    """Under which the API server reaches the operator's Service."""
    return f"crowetrade-operator.{namespace}.svc"


@dataclass(frozen=True, slots=True)
class Keys:
    """A certificate that signs itself, its key (both PEM), and the token."""

    certificate: str
    key: str
    token: str

    @classmethod
    def make(cls, name: str) -> Keys:
        """New ones, for a server of this DNS name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "crowetrade-admission")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode(), secrets.token_hex(24))

    def secret(self) -> dict[str, str]:
        """As data of a Secret."""
        return {CERTIFICATE: self.certificate, KEY: self.key, TOKEN: self.token}


def path_of(token: str) -> str:
    """Where the webhook is served."""
    return f"/admission/{token}"


@dataclass(frozen=True, slots=True)
class ServedKeys:
    """What the operator serves with."""

    context: ssl.SSLContext
    token: str


def read(directory: Path) -> ServedKeys | None:
    """The Secret's files; None as long as they are not there.

    Raises OSError (ssl.SSLError is one) and ValueError for files that cannot be used."""
    if not (directory / TOKEN).exists():
        return None
    token = (directory / TOKEN).read_text()
    if not token:
        raise ValueError(f"{TOKEN} is empty")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    return ServedKeys(context, token)
