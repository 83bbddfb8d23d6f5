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
