"""The lists of words: each with its documentation, and the words of conditions as Kubernetes wants them."""

from __future__ import annotations

import re

import pytest

from crowetrade_api.conditions import ConditionType
from crowetrade_api.model import DocumentedEnum
from crowetrade_api.reasons import EventReason, Reason, WaitingReason
from crowetrade_api.v1alpha1.strategy import StrategyPhase
from crowetrade_api.v1alpha1.venueconnection import VenuePhase

LISTS: list[type[DocumentedEnum]] = [ConditionType, Reason, EventReason, WaitingReason, StrategyPhase, VenuePhase]

WITHOUT_REMEDY = {
    # good
    Reason.AS_DESIRED, Reason.AVAILABLE, Reason.LOGGED_ON, Reason.REPLAY_ENDED, Reason.LIMITS_IN_FORCE,
    Reason.ORDERS_ACCEPTED, Reason.NOT_REQUIRED, Reason.DELIVERED, Reason.ACKNOWLEDGED, Reason.ACCEPTED,
    Reason.NOTHING_IN_SCOPE, Reason.NOT_REFUSED, Reason.NOT_ENGAGED, Reason.VAULT_ROLE_AS_WANTED,
    # on its way
    Reason.STARTING, Reason.ROLLING_OUT, Reason.WAITING_FOR_FLAT, Reason.WAITING_FOR_QUIET, Reason.WAITING_FOR_TURN,
    Reason.CLOSE_ONLY, Reason.CONNECTING, Reason.WAITING_FOR_GATEWAY, Reason.WAITING_FOR_CREDENTIALS,
    Reason.WAITING_FOR_STRATEGIES, Reason.STOPPING, Reason.ORDERS_OPEN, Reason.REARMING,
    # wanted by somebody
    Reason.SUSPENDED, Reason.OBSERVE_ONLY, Reason.VENUE_SUSPENDED, Reason.VENUE_DELETED, Reason.KILL_SWITCH_ENGAGED,
}  # fmt: skip
DONE = {
    EventReason.STOPPED, EventReason.HALT_CLEARED, EventReason.HALTED, EventReason.BREACH_CLEARED,
    EventReason.ORDER_WITHOUT_OBJECT, EventReason.CHILD_REPAIRED,
}  # fmt: skip


@pytest.mark.parametrize(("words", "without"), [(Reason, WITHOUT_REMEDY), (EventReason, DONE), (WaitingReason, set())])
def test_every_other_reason_says_what_to_do(words: type[DocumentedEnum], without: set[DocumentedEnum]) -> None:
    """As docs/troubleshooting.md promises."""
    assert {word for word in words if not word.remedy} == without


@pytest.mark.parametrize("words", LISTS)
def test_every_word_is_documented_in_one_line_and_its_remedy_in_another(words: type[DocumentedEnum]) -> None:
    for word in words:
        assert re.fullmatch(r"[^\n]+\.", word.doc), word
        assert re.fullmatch(r"([A-Z][^\n]+\.)?", word.remedy), word


@pytest.mark.parametrize("words", LISTS)
def test_words_are_camel_case(words: type[DocumentedEnum]) -> None:
    assert all(re.fullmatch(r"([A-Z][A-Za-z]*)?", word) for word in words)


def test_a_word_is_found_by_its_text() -> None:
    assert Reason("LoggedOn") is Reason.LOGGED_ON
    with pytest.raises(ValueError, match="Oracle"):
        Reason("Oracle")
