"""Whom to let in, by what the certificate says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.peer import Reason, Refusal, Revocations, judge
from crowetrade_process.identity.source import Trust

from .authority import HOUR, TRUST_DOMAIN, Authority, Issued, identity_name

OURS = Authority()
NAME = identity_name("strategy-fx")


def reason(issued: Issued, revocations: Revocations | None = None) -> Reason | str:
    """Why it is refused, or who it is."""
    found = judge(issued.certificate, TRUST_DOMAIN, revocations or Revocations(), datetime.now(UTC))
    return found.reason if isinstance(found, Refusal) else found.uri


def test_a_certificate_with_one_identity_is_let_in() -> None:
    assert reason(OURS.issue_to(NAME)) == NAME.uri


REFUSED: dict[str, tuple[Callable[[], Issued], Reason]] = {
    "no URI": (lambda: OURS.issue(dns_names=[NAME.dns_name]), Reason.NO_IDENTITY),
    "no names at all": (lambda: OURS.issue(), Reason.NO_IDENTITY),
    "two URIs": (lambda: OURS.issue(NAME.uri, identity_name("strategy-b").uri), Reason.SEVERAL_IDENTITIES),
    "the same URI twice": (lambda: OURS.issue(NAME.uri, NAME.uri), Reason.SEVERAL_IDENTITIES),
    "a URI that names no account": (lambda: OURS.issue(f"spiffe://{TRUST_DOMAIN}/desk"), Reason.WRONG_IDENTITY),
    "another trust domain": (
        lambda: OURS.issue_to(identity_name("strategy-fx", trust_domain="other.local")),
        Reason.FOREIGN_TRUST_DOMAIN,
    ),
    "an RSA key": (lambda: OURS.issue_to(NAME, key=rsa.generate_private_key(65537, 2048)), Reason.WRONG_KEY),
    "another curve": (lambda: OURS.issue_to(NAME, key=ec.generate_private_key(ec.SECP384R1())), Reason.WRONG_KEY),
    "expired": (
        lambda: OURS.issue_to(NAME, not_before=datetime.now(UTC) - 2 * HOUR),
        Reason.EXPIRED,
    ),
    "not yet valid": (lambda: OURS.issue_to(NAME, not_before=datetime.now(UTC) + HOUR), Reason.NOT_YET_VALID),
}


@pytest.mark.parametrize("what", REFUSED)
def test_others_are_refused_with_a_reason(what: str) -> None:
    issued, expected = REFUSED[what]
    assert reason(issued()) is expected


def revocations(pem: bytes, *trusted: Authority) -> Revocations:
    return Revocations.read(Trust(b"".join(authority.pem for authority in trusted), pem))


def test_a_revoked_certificate_is_refused_and_the_others_are_not() -> None:
    revoked, other = OURS.issue_to(NAME), OURS.issue_to(NAME)
    known = revocations(OURS.revocations(revoked), OURS)
    assert reason(revoked, known) is Reason.REVOKED
    assert reason(other, known) == NAME.uri


def test_the_first_authority_whose_last_list_ends_is_the_end_of_all() -> None:
    other, now = Authority("Other"), datetime.now(UTC).timestamp()
    lists = OURS.revocations(next_update=2 * HOUR) + OURS.revocations(next_update=-HOUR)
    assert revocations(lists, OURS).ends_at() == pytest.approx(now + 7200, abs=5)
    lists += other.revocations(next_update=HOUR)
    assert revocations(lists, OURS, other).ends_at() == pytest.approx(now + 3600, abs=5)
    namesake = Authority(OURS.common_name)
    lists = OURS.revocations(next_update=2 * HOUR) + namesake.revocations(next_update=HOUR)
    assert revocations(lists, OURS, namesake).ends_at() == pytest.approx(now + 3600, abs=5)


def test_without_lists_there_is_no_end_and_lists_that_are_missing_have_ended() -> None:
    assert Revocations().ends_at() == 0
    assert revocations(b"", OURS).ends_at() == -1


def test_a_revocation_stays_when_its_list_is_out_of_date() -> None:
    revoked = OURS.issue_to(NAME)
    assert reason(revoked, revocations(OURS.revocations(revoked, next_update=-HOUR), OURS)) is Reason.REVOKED


def test_nobody_is_let_in_whose_authority_has_no_list_that_is_up_to_date() -> None:
    other = Authority()
    old = OURS.revocations(next_update=-timedelta(seconds=1))
    assert reason(OURS.issue_to(NAME), revocations(old, OURS)) is Reason.REVOCATION_UNKNOWN
    assert reason(OURS.issue_to(NAME), revocations(other.revocations(), OURS, other)) is Reason.REVOCATION_UNKNOWN
    assert reason(OURS.issue_to(NAME), revocations(b"", OURS)) is Reason.REVOCATION_UNKNOWN


def test_each_authority_revokes_its_own_even_where_two_have_the_same_name() -> None:
    first, second = Authority("twin"), Authority("twin")
    mine, others = first.issue_to(NAME), second.issue_to(NAME)
    lists = first.revocations(mine) + second.revocations(mine)
    known = revocations(lists, first, second)
    assert reason(mine, known) is Reason.REVOKED
    assert reason(others, known) == NAME.uri
    # The list of the second names a number of the first's, which means nothing.
    assert reason(mine, revocations(first.revocations() + second.revocations(mine), first, second)) == NAME.uri


def test_a_list_that_no_authority_of_ours_has_signed_is_not_read() -> None:
    with pytest.raises(IdentityUnavailable, match="signed by no authority of the bundle"):
        revocations(Authority().revocations(), OURS)
    with pytest.raises(IdentityUnavailable, match="signed by no authority of the bundle"):
        revocations(Authority(OURS.common_name).revocations(), OURS)
    with pytest.raises(IdentityUnavailable, match="cannot be read as PEM"):
        revocations(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", OURS)
