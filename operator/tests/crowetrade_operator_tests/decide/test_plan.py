"""The words that kinds share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.conditions import Condition, ConditionType, condition
from crowetrade_api.names import PAUSED_ANNOTATION
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.common import cut
from crowetrade_operator.cluster.times import rfc3339, unix_of
from crowetrade_operator.decide.observed import GatewayView, NamespaceView
from crowetrade_operator.decide.plan import (
    identity_unencrypted,
    paused,
    session_condition,
    transition_notes,
)
from crowetrade_operator_tests.decide.scenes import NEVER, fresh, silent
from crowetrade_operator_tests.samples import SETTINGS, account, gateway_status, strategy

CONNECTED = NamespaceView()
SESSION, READY, TRADING = ConditionType.SESSION_ESTABLISHED, ConditionType.READY, ConditionType.TRADING


def says(session: status_pb2.SessionState.ValueType, message: str = "") -> GatewayView:
    return fresh(gateway_status(session=session, session_message=message))


SESSIONS: dict[str, tuple[GatewayView, NamespaceView, str, str, str]] = {
    "logged on": (says(status_pb2.SESSION_STATE_LOGGED_ON), CONNECTED, "True", "LoggedOn", "Venue sim-fx is logged on"),
    "a recording that ended is no failure": (
        says(status_pb2.SESSION_STATE_ENDED),
        CONNECTED,
        "True",
        "ReplayEnded",
        "The recording of venue sim-fx has ended.",
    ),
    "the gateway's own words for the end": (
        says(status_pb2.SESSION_STATE_ENDED, "6057 bars played."),
        CONNECTED,
        "True",
        "ReplayEnded",
        "6057 bars played.",
    ),
    "a refused key": (
        says(status_pb2.SESSION_STATE_LOGON_REJECTED, "bad api key"),
        CONNECTED,
        "False",
        "LogonRejected",
        "rejected the logon: bad api key. Check spec.credentials",
    ),
    "a refusal without words": (
        says(status_pb2.SESSION_STATE_LOGON_REJECTED),
        CONNECTED,
        "False",
        "LogonRejected",
        "it gave no reason",
    ),
    "disconnected": (
        says(status_pb2.SESSION_STATE_DISCONNECTED, "reset by peer"),
        CONNECTED,
        "False",
        "Disconnected",
        "disconnected: reset by peer. The gateway tries again.",
    ),
    "disconnected without words": (
        says(status_pb2.SESSION_STATE_DISCONNECTED),
        CONNECTED,
        "False",
        "Disconnected",
        "no reason given",
    ),
    "connecting": (
        says(status_pb2.SESSION_STATE_CONNECTING, "Waiting for data."),
        CONNECTED,
        "False",
        "Connecting",
        "The gateway of venue sim-fx connects. Waiting for data.",
    ),
    "a state that this version does not know": (
        says(status_pb2.SESSION_STATE_UNSPECIFIED),
        CONNECTED,
        "False",
        "Connecting",
        "The gateway of venue sim-fx connects.",
    ),
    "never heard": (NEVER, CONNECTED, "False", "Starting", "has not reported yet"),
    "heard once and silent now": (
        silent(gateway_status()),
        CONNECTED,
        "Unknown",
        "GatewaySilent",
        "kubectl describe venue sim-fx",
    ),
    "without the bus nothing is known": (
        says(status_pb2.SESSION_STATE_LOGGED_ON),
        NamespaceView(bus_connected=False, bus_problem="nats: no servers"),
        "Unknown",
        "BusUnavailable",
        "nats: no servers",
    ),
    "the bus is down for no known reason": (
        NEVER,
        NamespaceView(bus_connected=False),
        "Unknown",
        "BusUnavailable",
        "(not connected)",
    ),
}


@pytest.mark.parametrize("case", SESSIONS)
def test_what_a_session_means(case: str) -> None:
    view, around, status, reason, words = SESSIONS[case]
    found = session_condition(SESSION, "sim-fx", view, around)
    assert (found.type, found.status, found.reason) == ("SessionEstablished", status, reason)
    assert words in found.message


def _is(type_: ConditionType, status: Any, reason: Reason, message: str = "because") -> Condition:
    return condition(type_, status, reason, message)


UP = _is(READY, True, Reason.AVAILABLE)
NOTES: dict[str, tuple[list[Condition], list[Condition], list[tuple[str, str]]]] = {
    "a first status is no transition": ([], [_is(READY, False, Reason.STARTING)], []),
    "nothing changed": ([UP], [UP], []),
    "other words are no transition": ([UP], [_is(READY, True, Reason.AVAILABLE, "other words")], []),
    "it got worse": ([UP], [_is(READY, False, Reason.CRASHING)], [("Warning", "Crashing")]),
    "it got well": ([_is(READY, False, Reason.CRASHING)], [UP], [("Normal", "Available")]),
    "another reason for the same status": (
        [_is(READY, False, Reason.STARTING)],
        [_is(READY, False, Reason.CRASHING)],
        [("Warning", "Crashing")],
    ),
    "what the user wanted is no warning": (
        [_is(TRADING, True, Reason.ORDERS_ACCEPTED)],
        [_is(TRADING, False, Reason.SUSPENDED)],
        [("Normal", "Suspended")],
    ),
    "what is not watched is not told": (
        [_is(ConditionType.RISK_BOUND, True, Reason.LIMITS_IN_FORCE)],
        [_is(ConditionType.RISK_BOUND, False, Reason.NO_LIMIT_IN_FORCE)],
        [],
    ),
    "one cause, one event": (
        [UP, _is(TRADING, True, Reason.ORDERS_ACCEPTED)],
        [_is(READY, False, Reason.CRASHING), _is(TRADING, False, Reason.CRASHING)],
        [("Warning", "Crashing")],
    ),
    "two causes, two events": (
        [UP, _is(TRADING, True, Reason.ORDERS_ACCEPTED)],
        [_is(READY, False, Reason.CRASHING), _is(TRADING, False, Reason.SUSPENDED, "wanted")],
        [("Warning", "Crashing"), ("Normal", "Suspended")],
    ),
}


@pytest.mark.parametrize("case", NOTES)
def test_events_are_written_on_transitions_only(case: str) -> None:
    before, after, expected = NOTES[case]
    notes = transition_notes(before, after, (READY, TRADING))
    assert [(note.type, note.reason) for note in notes] == expected


def test_an_event_says_what_is_how_and_why() -> None:
    note = transition_notes([UP], [_is(READY, False, Reason.CRASHING, "Pod p keeps ending.")], (READY,))[0]
    assert (note.action, note.text) == ("Reconcile", "Ready is False: Pod p keeps ending.")


def test_what_follows_from_the_same_record_has_the_same_occasion_and_what_follows_from_another_has_not() -> None:
    """So two leaders that find the same status tell a transition once."""
    later = UP.model_copy(update={"last_transition_time": "2026-01-05T10:00:01Z"})
    halted = _is(HALTED, True, Reason.POSITION_DIFFERENCE, "5, not 7")

    def occasion(before: list[Condition], after: Condition) -> str:
        return transition_notes(before, [after], (READY, TRADING, HALTED))[0].occasion

    down = occasion([UP], _is(READY, False, Reason.CRASHING, "Pod p keeps ending."))
    assert down == occasion([UP], _is(READY, False, Reason.CRASHING, "Pod q keeps ending."))
    assert down != occasion([later], _is(READY, False, Reason.CRASHING, "Pod p keeps ending."))
    trading = [UP, _is(TRADING, True, Reason.ORDERS_ACCEPTED)]
    assert down != occasion(trading, _is(TRADING, False, Reason.CRASHING, "Pod p keeps ending."))
    assert occasion([UP], halted) == occasion([UP], halted) != occasion([later], halted)


HALTED, REFUSED = ConditionType.HALTED, ConditionType.ORDERS_REFUSED
BAD: dict[str, tuple[list[Condition], Condition, list[tuple[str, str]]]] = {
    "a halt that comes is a warning": (
        [UP],
        _is(HALTED, True, Reason.POSITION_DIFFERENCE, "5, not 7"),
        [("Warning", "PositionDifference")],
    ),
    "a halt that somebody asked for is none": (
        [UP],
        _is(HALTED, True, Reason.VENUE_SUSPENDED, "as asked"),
        [("Normal", "VenueSuspended")],
    ),
    "a halt that stays is not told again": (
        [UP, _is(HALTED, True, Reason.POSITION_DIFFERENCE, "5, not 7")],
        _is(HALTED, True, Reason.POSITION_DIFFERENCE, "6, not 7"),
        [],
    ),
    "refusals that end are good news": (
        [UP, _is(REFUSED, True, Reason.ORDERS_REFUSED, "12 in a row")],
        _is(REFUSED, False, Reason.NOT_REFUSED, "none in the last minute"),
        [("Normal", "NotRefused")],
    ),
    "nothing was known before": ([], _is(HALTED, True, Reason.POSITION_DIFFERENCE, "5, not 7"), []),
}


@pytest.mark.parametrize("case", BAD)
def test_conditions_that_are_bad_when_they_are_true(case: str) -> None:
    before, after, expected = BAD[case]
    notes = transition_notes(before, [after], (HALTED, REFUSED, READY))
    assert [(note.type, note.reason) for note in notes] == expected


def test_times_come_back_as_they_were_written() -> None:
    assert rfc3339(1_767_607_200.9) == "2026-01-05T10:00:00Z"
    assert unix_of("2026-01-05T10:00:00Z") == 1_767_607_200.0


def test_text_that_does_not_fit_is_cut() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abc..."


def test_the_account_is_that_of_the_strategy_even_when_the_gateway_is_silent() -> None:
    last = gateway_status(accounts=[account("other"), account("ema", open_orders=2)])
    found = silent(last).account("ema")
    assert found is not None
    assert found.open_orders == 2
    assert silent(last).account("third") is None
    assert NEVER.account("ema") is None


IDENTITIES: dict[str, tuple[dict[str, str], bool]] = {
    "of Vault, over plain http": ({"IDENTITY_SOURCE": "Vault", "VAULT_ADDR": "http://a:8200"}, True),
    "of one of two Vaults": ({"IDENTITY_SOURCE": "Vault", "VAULT_ADDR": "https://a:8200, http://b:8200"}, True),
    "of Vault, with TLS": ({"IDENTITY_SOURCE": "Vault", "VAULT_ADDR": "https://a:8200"}, False),
    "of files, while the keys come over plain http": (
        {"IDENTITY_SOURCE": "Files", "VAULT_ADDR": "http://a:8200"},
        False,
    ),
    "none": ({}, False),
}


@pytest.mark.parametrize("case", IDENTITIES)
def test_identities_that_come_over_plain_http_are_told(case: str) -> None:
    identity, is_told = IDENTITIES[case]
    found = identity_unencrypted(replace(SETTINGS, identity=identity))
    assert [(item.type, item.status, item.reason) for item in found] == (
        [("IdentityUnencrypted", "True", "PlainHttp")] if is_told else []
    )


PAUSED = {
    "paused, and what runs is the present spec": (
        "true",
        2,
        "True",
        "ReconcilingPaused",
        "neither updated nor repaired.",
    ),
    "paused, and the spec was changed since": ("True", 1, "True", "ReconcilingPaused", "the spec of generation 1; the"),
    "paused from the beginning": (
        "true",
        -1,
        "True",
        "ReconcilingPaused",
        "Nothing runs yet; the spec is of generation 2",
    ),
    "paused from the beginning, and told so": ("true", 0, "True", "ReconcilingPaused", "Nothing runs yet; the spec"),
    "a word that means nothing": ("yes", 2, "False", "PausedUnreadable", "is 'yes', so nothing is paused: write true"),
    "a number": ("1", 2, "False", "PausedUnreadable", "is '1'"),
}


@pytest.mark.parametrize("case", PAUSED)
def test_the_annotation_that_pauses_is_answered(case: str) -> None:
    value, carried_out, truth, reason, words = PAUSED[case]
    (found,) = paused(strategy(annotations={PAUSED_ANNOTATION: value}, generation=2), carried_out)
    assert (found.type, found.status, found.reason) == ("Paused", truth, reason)
    assert PAUSED_ANNOTATION in found.message
    assert words in found.message


@pytest.mark.parametrize("annotations", [{}, {PAUSED_ANNOTATION: "false"}, {PAUSED_ANNOTATION: ""}])
def test_what_is_not_paused_says_nothing_of_it(annotations: dict[str, str]) -> None:
    assert paused(strategy(annotations=annotations), 1) == []
