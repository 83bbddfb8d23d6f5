"""How much of the store of the bus one namespace may reserve, so that no tenant takes what others need. Pure."""

from __future__ import annotations

from collections.abc import Mapping

MIB = 1024 * 1024


def refusal(namespace: str, wanted: int, reserved: Mapping[str, int], bound: int) -> str:
    """Why so many bytes more are not reserved for a namespace; empty when they may be. `reserved` is what each stream
    of its journals reserves, and a bound of 0 is none."""
    used = sum(reserved.values())
    if not bound or used + wanted <= bound:
        return ""
    return (
        f"the journals of namespace {namespace} reserve {used // MIB} MiB of the store of NATS in {len(reserved)} "
        f"streams, one more venue takes {wanted // MIB} MiB, and a namespace may reserve {bound // MIB} MiB "
        "(nats.namespaceMaxBytes of the chart). Journals outlive their VenueConnection: have an administrator of the "
        "bus delete the streams of venues that are gone (docs/troubleshooting.md), or raise the bound"
    )
