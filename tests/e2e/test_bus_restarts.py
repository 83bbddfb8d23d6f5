"""The bus may go and come back: nothing trades meanwhile. Where the journal is lost with it, the gateway halts, says
so, and goes on after a person has cleared the halt."""

from __future__ import annotations

import re

import pytest
from tools.demo import install

from tests.e2e import manifests
from tests.e2e.journal import lose_journal, read_journal
from tests.e2e.namespaces import Namespace

_CLEAR = "trading.crowetrade.io/clear-halt"


def _message(namespace: Namespace, kind: str, name: str, condition: str) -> str:
    conditions = namespace.status(kind, name).get("conditions", [])
    return next((str(entry["message"]) for entry in conditions if entry["type"] == condition), "")


def _until_halted(namespace: Namespace) -> str:
    """Waits for the halt; returns its name as the message gives it."""
    namespace.until_condition("venueconnection", manifests.VENUE, "Halted", "True", "JournalBelowRecord")
    namespace.until_condition("strategy", "ema", "Trading", "False", "JournalBelowRecord")

    def probe() -> str | None:
        said = _message(namespace, "venueconnection", manifests.VENUE, "Halted")
        return None if _CLEAR in said else f"the message does not say how to clear it yet: {said!r}"

    namespace.until(probe, "the halt to say what to do")
    found = re.search(_CLEAR + r"=(\S+@\d+)", _message(namespace, "venueconnection", manifests.VENUE, "Halted"))
    assert found is not None
    return found.group(1)


def _clear(namespace: Namespace, halt: str) -> None:
    namespace.kubectl("annotate", "venueconnection", manifests.VENUE, f"{_CLEAR}={halt}", "-n", namespace.name)


@pytest.mark.alone
@pytest.mark.parametrize("topology", ["Combined", "Split"])
def test_a_bus_that_was_killed_halts_until_a_person_clears_it(namespace: Namespace, topology: str) -> None:
    """With a disk that outlives its pod it has lost nothing, and nothing halts."""
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema", topology=topology))
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=3)
    before, filled = read_journal(namespace, manifests.VENUE).raw, namespace.filled("ema")

    Namespace(install.NAMESPACE, namespace.cluster, namespace.kubectl).kill("app.kubernetes.io/name=nats")
    if not namespace.cluster.persistent:
        # The bus of the demo loses its disk with its pod, and its counts begin again with the new journal.
        _clear(namespace, _until_halted(namespace))
        filled = 3
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=filled)
    journal = read_journal(namespace, manifests.VENUE)
    assert journal.broken_link() is None
    assert (journal.raw[: len(before)] == before) is namespace.cluster.persistent, "whether the journal was kept"


def test_a_journal_that_is_lost_halts_until_a_person_clears_it(namespace: Namespace) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema"))
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=3)
    token = namespace.status("venueconnection", manifests.VENUE)["session"]["fencingToken"]
    namespace.kill(f"trading.crowetrade.io/venue={manifests.VENUE}")
    namespace.until_trading("ema")

    def taken_over() -> str | None:
        seen = namespace.status("venueconnection", manifests.VENUE)["session"]["fencingToken"]
        return None if seen > token else f"fencing token {seen}"

    namespace.until(taken_over, "the new gateway to be on record")

    lose_journal(namespace, manifests.VENUE)
    halt = _until_halted(namespace)
    held = namespace.status("strategy", "ema")["position"]
    filled = namespace.filled("ema")
    assert held, "what was known of the position stays"
    assert namespace.status("strategy", "ema")["phase"] == "Halted"

    _clear(namespace, halt)
    namespace.until_trading("ema")

    def carried_out() -> str | None:
        annotations = namespace.get("venueconnection", manifests.VENUE)["metadata"].get("annotations", {})
        return f"{_CLEAR} is still there" if _CLEAR in annotations else None

    namespace.until(carried_out, "the annotation to be taken away")
    assert filled > 0
    # The counts begin again with the new journal.
    namespace.until_filled("ema", more_than=3)
