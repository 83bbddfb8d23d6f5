"""Names of what the operator makes, for any names of owners, in both topologies and with certificates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_api.names import Key, Kind, child_names
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api_tests.test_names import NAMES, NAMESAKES, SERVICE_NAME
from crowetrade_operator.decide import strategy as strategies
from crowetrade_operator.decide import venueconnection
from crowetrade_operator.desired.metadata import Owner
from crowetrade_operator.settings import Issuer
from crowetrade_operator_tests.decide import test_strategy_rollout, test_venueconnection
from crowetrade_operator_tests.samples import SETTINGS, change, strategy, strategy_manifest, venue, venue_manifest

Object = dict[str, Any]
WITH_CERTIFICATES = replace(
    SETTINGS,
    identity={"IDENTITY_SOURCE": "Files", "IDENTITY_TRUST_DOMAIN": "desk.example"},
    issuer=Issuer("desk", "ClusterIssuer", "cert-manager.io"),
)


def _strategy(name: str, topology: str) -> Strategy:
    return strategy(change(strategy_manifest(name), "spec.agents", {"topology": topology}))


TOPOLOGIES = st.sampled_from(["Combined", "Split"])
OWNERS = st.builds(_strategy, NAMES, TOPOLOGIES) | NAMES.map(lambda name: venue(venue_manifest(name)))
SUBDOMAIN = re.compile(r"[a-z0-9][-a-z0-9]{0,251}[a-z0-9]")
LABEL_VALUE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


def _children(owner: Owner) -> list[Object]:
    if isinstance(owner, Strategy):
        return list(strategies.plan(test_strategy_rollout.seen(owner), WITH_CERTIFICATES).apply)
    observed = test_venueconnection.scene(owner, traders=(), children=[])
    return list(venueconnection.plan(observed, WITH_CERTIFICATES).apply)


def _names(children: list[Object]) -> Iterator[tuple[str, str]]:
    """With the Secrets that cert-manager makes."""
    for item in children:
        yield item["kind"], item["metadata"]["name"]
        if item["kind"] == "Certificate":
            yield "Secret", item["spec"]["secretName"]


@settings(max_examples=40)
@given(NAMESAKES, TOPOLOGIES)
def test_no_two_owners_have_an_object_of_the_same_kind_and_name(names: list[str], topology: str) -> None:
    owners: list[Owner] = [venue(venue_manifest(name)) for name in names]
    owners += [_strategy(name, topology) for name in names]
    for one, other in combinations([set(_names(_children(owner))) for owner in owners], 2):
        assert not one & other


@settings(max_examples=40)
@given(OWNERS)
def test_names_are_there_once_and_are_those_of_the_api_and_fit_into_labels(owner: Owner) -> None:
    children = _children(owner)
    names = list(_names(children))
    assert len(names) == len(set(names))
    assert {"Deployment", "Service", "ServiceAccount", "Certificate", "Secret"} <= {kind for kind, _ in names}
    kind = Kind.STRATEGY if isinstance(owner, Strategy) else Kind.VENUE
    allowed = child_names(Key(kind, owner.namespace, owner.name))
    assert {found for of, found in names if of != "Secret"} <= set(allowed)
    assert [found for _, found in names if not SUBDOMAIN.fullmatch(found)] == []
    assert [found for of, found in names if of == "Service" and not SERVICE_NAME.fullmatch(found)] == []
    labels = [value for item in children for value in item["metadata"]["labels"].values()]
    assert owner.name in labels
    assert [value for value in labels if not LABEL_VALUE.fullmatch(value)] == []
