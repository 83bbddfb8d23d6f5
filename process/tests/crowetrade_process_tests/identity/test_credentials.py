"""Certificate, key and bundle as they are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentityUnavailable

from .authority import HOUR, TRUST_DOMAIN, Authority, identity_name

OURS, FOREIGN = Authority(), Authority()
NAME = identity_name("venue-sim")
GOOD = OURS.issue_to(NAME)


def read(chain: bytes = GOOD.pem, key: bytes = GOOD.key_pem, bundle: bytes = OURS.pem) -> Credentials:
    return Credentials.read(chain, key, bundle, TRUST_DOMAIN, datetime.now(UTC))


def test_what_fits_together_is_read() -> None:
    found = read()
    assert (found.name, found.serial) == (NAME, GOOD.certificate.serial_number)
    assert found.not_after - found.not_before == HOUR


def test_the_key_is_in_no_representation() -> None:
    found = read()
    assert "PRIVATE" not in repr(found)
    assert "PRIVATE" not in str(found)


def test_two_authorities_are_trusted_while_one_replaces_the_other() -> None:
    assert read(bundle=FOREIGN.pem + OURS.pem).name == NAME


def _shown(**options: object) -> Callable[[], Credentials]:
    def call() -> Credentials:
        issued = OURS.issue_to(NAME, **options)  # type: ignore[arg-type]
        return read(issued.pem, issued.key_pem)

    return call


REFUSED: dict[str, tuple[Callable[[], Credentials], str]] = {
    "another key": (lambda: read(key=OURS.issue_to(NAME).key_pem), "does not belong to the certificate"),
    "a key that is none": (lambda: read(key=b"none"), "the private key cannot be read"),
    "a certificate that is none": (lambda: read(chain=b""), "the certificate cannot be read as PEM"),
    "a bundle that is none": (lambda: read(bundle=b""), "the CA bundle cannot be read as PEM"),
    "a foreign authority": (lambda: read(bundle=FOREIGN.pem), "the CA bundle does not confirm the certificate"),
    "an RSA key": (_shown(key=rsa.generate_private_key(65537, 2048)), "no EC key on P-256"),
    "another curve": (_shown(key=ec.generate_private_key(ec.SECP384R1())), "no EC key on P-256"),
    "expired": (_shown(not_before=datetime.now(UTC) - 2 * HOUR), "the certificate has expired at "),
    "not yet valid": (_shown(not_before=datetime.now(UTC) + HOUR), "is not valid before "),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(what: str) -> None:
    call, sentence = REFUSED[what]
    with pytest.raises(IdentityUnavailable, match=sentence):
        call()


@pytest.mark.parametrize(
    ("uris", "sentence"),
    [
        ((), "has no URI names"),
        ((NAME.uri, NAME.uri), "has 2 URI names"),
        (("spiffe://crowetrade.local/desk",), "has a URI name that is no identity"),
        (("spiffe://other.local/ns/desk/sa/venue-sim",), "the trust domain is crowetrade.local"),
    ],
)
def test_a_certificate_names_one_identity_of_the_trust_domain(uris: tuple[str, ...], sentence: str) -> None:
    issued = OURS.issue(*uris, dns_names=["venue-sim.desk.svc"])
    with pytest.raises(IdentityUnavailable, match=sentence):
        read(issued.pem, issued.key_pem)
