"""The table of kinds is whole, and what derives from it is what is meant."""

from __future__ import annotations

from crowetrade_api.names import Kind
from crowetrade_operator.cluster.resources import BY_KIND, CHILDREN, CUSTOM, KINDS, Role, watched


def test_our_own_kinds_are_those_of_the_api() -> None:
    assert {resource.kind for resource in CUSTOM} == set(Kind)
    assert all(("status", "patch") in resource.subresources for resource in CUSTOM)


def test_each_kind_stands_in_the_table_once() -> None:
    assert len(BY_KIND) == len(KINDS)


def test_a_deployment_is_applied_after_what_its_pods_need() -> None:
    assert CHILDREN[-1].kind == "Deployment"


def test_metadata_alone_is_watched_where_no_content_is_compared_or_decided_from() -> None:
    kinds = watched(everywhere=True, certificates=True)
    alone = {resource.kind for resource in kinds if resource.metadata_only}
    assert alone == {"ServiceAccount", "ConfigMap", "Namespace"}


def test_only_what_the_operator_made_is_watched_of_kinds_that_others_make_too() -> None:
    for resource in watched(certificates=True):
        assert bool(resource.selector) == (resource.role is not Role.OWN), resource.kind


def test_what_may_not_be_there_or_not_be_asked_for_is_watched_on_demand() -> None:
    usual = {resource.kind for resource in watched()}
    assert {resource.kind for resource in watched(certificates=True)} - usual == {"Certificate"}
    assert {resource.kind for resource in watched(everywhere=True)} - usual == {"Namespace"}
