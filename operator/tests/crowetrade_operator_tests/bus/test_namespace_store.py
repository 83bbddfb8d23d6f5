from __future__ import annotations

import pytest

from crowetrade_operator.bus.namespace_store import MIB, refusal

CASES: dict[str, tuple[dict[str, int], int, str]] = {
    "nothing is reserved": ({}, 30, ""),
    "it fits to the byte": ({"a": 10 * MIB, "b": 10 * MIB}, 30, ""),
    "one byte is too much": ({"a": 20 * MIB + 1}, 30, "reserve 20 MiB of the store of NATS in 1 streams"),
    "the first one is too large": ({}, 9, "reserve 0 MiB of the store of NATS in 0 streams"),
    "a bound that was lowered": ({"a": 80 * MIB}, 30, "reserve 80 MiB of the store of NATS in 1 streams"),
    "no bound": ({"a": 2**60}, 0, ""),
}


@pytest.mark.parametrize("case", CASES)
def test_a_namespace_reserves_up_to_its_bound(case: str) -> None:
    reserved, bound, said = CASES[case]
    found = refusal("desk", 10 * MIB, reserved, bound * MIB)
    assert bool(found) == bool(said)
    assert said in found


def test_it_says_what_is_used_what_the_bound_is_and_what_to_do() -> None:
    found = refusal("desk", 576 * MIB, {"a": 512 * MIB, "b": 64 * MIB}, 1024 * MIB)
    assert found == (
        "the journals of namespace desk reserve 576 MiB of the store of NATS in 2 streams, one more venue takes "
        "576 MiB, and a namespace may reserve 1024 MiB (nats.namespaceMaxBytes of the chart). Journals outlive their "
        "VenueConnection: have an administrator of the bus delete the streams of venues that are gone "
        "(docs/troubleshooting.md), or raise the bound"
    )
