"""A KillSwitch stops every order, whoever is down, until another person re-arms it."""

from __future__ import annotations

import json

import pytest
from tools.demo import install
from tools.demo.errors import CommandFailed
from tools.demo.kubernetes import Object

from tests.e2e import manifests
from tests.e2e.journal import Journal, read_journal
from tests.e2e.namespaces import Namespace, of_venue

OPERATOR = "crowetrade-operator"
SEEN_SECONDS = 60.0


def _as(namespace: Namespace, user: str, *arguments: str, stdin: str | None = None) -> str:
    return namespace.kubectl(*arguments, "-n", namespace.name, f"--as={user}", "--as-group=system:masters", stdin=stdin)


def _engage(namespace: Namespace, user: str, switch: Object) -> None:
    _as(namespace, user, "apply", "--server-side", "-f", "-", stdin=json.dumps(switch))


def _rearm(namespace: Namespace, user: str, name: str) -> None:
    patch = json.dumps({"spec": {"engaged": False, "reason": "looked into it"}})
    _as(namespace, user, "patch", "killswitch", name, "--type=merge", "-p", patch)


def _until_state(namespace: Namespace, name: str, state: str) -> None:
    def probe() -> str | None:
        status = namespace.status("killswitch", name)
        return None if status.get("state") == state else f"status {status}"

    namespace.until(probe, f"killswitch {name} to be {state}", SEEN_SECONDS)


def _kills(journal: Journal) -> list[int]:
    """Places of the kill orders among the events."""
    return [
        number
        for number, event in enumerate(journal.events)
        if event.HasField("kill_changed") and not event.kill_changed.rearmed
    ]


def _orders_after_the_last_kill(journal: Journal) -> list[str]:
    later = journal.events[_kills(journal)[-1] :]
    return [event.order_submitted.cl_ord_id for event in later if event.HasField("order_submitted")]


def test_a_kill_switch_stops_everything_until_another_person_rearms(namespace: Namespace) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("one"), manifests.strategy("two"))
    namespace.until_trading("one", "two")
    namespace.until_filled("one")

    _engage(namespace, "alice", manifests.kill_switch(engagedBy="alice"))
    _until_state(namespace, "all", "Halted")
    status = namespace.status("killswitch", "all")
    assert status["acknowledgements"]["summary"] == "1/1"
    assert status["stillOpenCount"] == 0
    assert status["engagedBy"] == "alice"
    for name in ("one", "two"):
        namespace.until_condition("strategy", name, "Trading", "False", "KillSwitchEngaged")

    # A gateway that starts anew is still stopped.
    namespace.kill(of_venue(manifests.VENUE))
    namespace.until_condition("venueconnection", manifests.VENUE, "SessionEstablished")
    _until_state(namespace, "all", "Halted")
    journal = read_journal(namespace, manifests.VENUE)
    assert _orders_after_the_last_kill(journal) == []

    with pytest.raises(CommandFailed, match="another person"):
        _rearm(namespace, "alice", "all")
    filled = namespace.filled("one")
    _rearm(namespace, "bob", "all")
    _until_state(namespace, "all", "Armed")
    namespace.until_filled("one", more_than=filled)


@pytest.mark.alone
def test_a_gateway_obeys_while_the_operator_is_down(namespace: Namespace) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("one"))
    namespace.until_trading("one")
    namespace.until_filled("one")
    scale = ("scale", "deployment", OPERATOR, "-n", install.NAMESPACE)
    replicas = namespace.kubectl(
        "get", "deployment", OPERATOR, "-n", install.NAMESPACE, "-o", "jsonpath={.spec.replicas}"
    )
    namespace.kubectl(*scale, "--replicas=0")
    try:
        namespace.kubectl("rollout", "status", "deployment", OPERATOR, "-n", install.NAMESPACE)
        _engage(namespace, "alice", manifests.kill_switch(engagedBy="alice"))

        def obeyed() -> str | None:
            found = _kills(read_journal(namespace, manifests.VENUE))
            return None if found else "no kill order is in the journal"

        namespace.until(obeyed, "the gateway to obey", SEEN_SECONDS)
        journal = read_journal(namespace, manifests.VENUE)
        assert journal.events[_kills(journal)[-1]].kill_changed.channel == "Api"
    finally:
        namespace.kubectl(*scale, f"--replicas={replicas}")
    _until_state(namespace, "all", "Halted")
    assert _orders_after_the_last_kill(read_journal(namespace, manifests.VENUE)) == []
    _rearm(namespace, "bob", "all")
