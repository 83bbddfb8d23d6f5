"""Names of children: whatever owners are called, no two share one, and Kubernetes takes them."""

from __future__ import annotations

import re
import string
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from crowetrade_api.names import (
    COMBINED_ROLE,
    ROLES,
    Key,
    Kind,
    child_names,
    gateway_address,
    name_at,
    strategy_object,
    strategy_of,
)
from crowetrade_api.v1alpha1.common import OBJECT_NAME

SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""The strictest of what children are (RFC 1035): the other kinds take these names, too."""
PARTS: tuple[str, ...] = ("strategy", "venue", "agent", COMBINED_ROLE, *ROLES, "identity", "x", "0")
LONGEST = "a" * 40
CLOSE = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("-".join)
"""Made of what the names of children are made of."""
LETTERS, DIGITS = string.ascii_lowercase, string.digits
ANY = st.builds("{}{}{}".format, st.sampled_from(LETTERS), st.text(f"{LETTERS}{DIGITS}-", max_size=38), st.just("z"))
NAMES = (CLOSE | ANY | st.just(LONGEST)).filter(re.compile(OBJECT_NAME).search)
NAMESAKES = st.tuples(CLOSE | ANY, st.sampled_from(PARTS[:-1])).map(
    lambda it: sorted({it[0], f"{it[0]}-{it[1]}", f"{it[1]}-{it[0]}"})
)
"""Names each of which is the other with a part of a child's name before or behind it."""
OWNERS = st.builds(Key, st.sampled_from([Kind.STRATEGY, Kind.VENUE]), st.just("desk"), NAMES)
NAMESPACES = ANY | st.just("0" * 63)


@given(NAMESAKES)
def test_no_two_owners_have_a_child_of_the_same_name(names: list[str]) -> None:
    owners = [Key(kind, "desk", name) for kind in (Kind.STRATEGY, Kind.VENUE) for name in names]
    for one, other in combinations(owners, 2):
        assert not set(child_names(one)) & set(child_names(other))


@given(NAMES)
def test_each_role_has_a_name_of_its_own(name: str) -> None:
    names = child_names(Key(Kind.STRATEGY, "desk", name))
    assert len(set(names)) == len(ROLES) + 1
    assert set(names) == {strategy_object(name, role) for role in (COMBINED_ROLE, *ROLES)}


@given(OWNERS)
def test_kubernetes_takes_each_name(owner: Key) -> None:
    assert [name for name in child_names(owner) if not SERVICE_NAME.fullmatch(name)] == []


@given(OWNERS)
def test_no_child_has_a_name_of_the_installation(owner: Key) -> None:
    """Where resources and the chart are in one namespace."""
    assert not [name for name in child_names(owner) if name == "nats" or name.startswith("crowetrade-")]


@given(NAMESPACES, NAMESPACES, NAMESPACES, NAMES, NAMES)
def test_a_gateway_tells_all_strategies_apart(venue: str, one: str, other: str, first: str, second: str) -> None:
    known = {name_at(venue, namespace, name) for namespace, name in ((one, first), (other, second))}
    assert len(known) == (1 if (one, first) == (other, second) else 2)
    assert strategy_of(name_at(venue, one, first), venue) == (one, first)


@given(NAMESPACES, NAMES)
def test_the_address_of_a_gateway_is_that_of_its_service(namespace: str, venue: str) -> None:
    host, _, _ = gateway_address(namespace, venue, "cluster.local").rpartition(":")
    assert host.split(".")[:2] == [*child_names(Key(Kind.VENUE, namespace, venue)), namespace]
    assert len(host) <= 253
