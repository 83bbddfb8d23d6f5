"""Names of identities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_process.identity.errors import IdentityError
from crowetrade_process.identity.name import IdentityName

URI = "spiffe://crowetrade.local/ns/desk/sa/strategy-fx"


def test_a_name_is_read_from_its_uri() -> None:
    name = IdentityName.parse(URI)
    assert name == IdentityName("crowetrade.local", "desk", "strategy-fx")
    assert (name.uri, name.dns_name) == (URI, "strategy-fx.desk.svc")
    assert name.pods_dns_name == "*.strategy-fx.desk.svc"
    assert name.inbox_prefix == "_INBOX.desk.strategy-fx"


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://crowetrade.local/ns/desk/sa/strategy-fx",
        "SPIFFE://crowetrade.local/ns/desk/sa/strategy-fx",
        "spiffe:///ns/desk/sa/strategy-fx",
        "spiffe://Crowetrade.local/ns/desk/sa/strategy-fx",
        "spiffe://user@crowetrade.local/ns/desk/sa/strategy-fx",
        "spiffe://crowetrade.local:8443/ns/desk/sa/strategy-fx",
        "spiffe://crowetrade.local/ns/desk/sa/",
        "spiffe://crowetrade.local/ns//sa/strategy-fx",
        "spiffe://crowetrade.local/ns/de.sk/sa/strategy-fx",
        "spiffe://crowetrade.local/ns/desk/sa/strategy-fx/",
        "spiffe://crowetrade.local/ns/desk/sa/strategy-fx/more",
        "spiffe://crowetrade.local/ns/desk/sa/strategy-fx?a=b",
        "spiffe://crowetrade.local/ns/desk/sa/strategy%2Dfx",
        "spiffe://crowetrade.local/ns/*/sa/strategy-fx",
        "spiffe://crowetrade.local/ns/desk/sa/>",
        "spiffe://crowetrade.local/ns/desk/sa/strategy-fx\n",
        f"spiffe://crowetrade.local/ns/desk/sa/{'a.' * 1200}a",
    ],
)
def test_nothing_else_is_a_name(uri: str) -> None:
    with pytest.raises(IdentityError, match="write spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"):
        IdentityName.parse(uri)


_label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_names = st.builds(
    IdentityName, _label, _label, st.lists(_label, min_size=1, max_size=3).map(lambda labels: ".".join(labels))
)


@given(name=_names)
def test_each_name_is_read_as_it_is_written(name: IdentityName) -> None:
    assert IdentityName.parse(name.uri) == name


@given(one=_names, other=_names)
def test_no_inbox_lies_in_the_inbox_of_another(one: IdentityName, other: IdentityName) -> None:
    same = (one.namespace, one.service_account) == (other.namespace, other.service_account)
    assert f"{one.inbox_prefix}.x".startswith(f"{other.inbox_prefix}.") is same
