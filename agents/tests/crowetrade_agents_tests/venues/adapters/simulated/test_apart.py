"""What another process reads is what this one would have read."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated import apart, recording
from crowetrade_agents.venues.adapters.simulated.spec import Recording

from ...values import EUR_USD

OTHER = replace(EUR_USD, id=InstrumentId("sim", "OTHER"))
FILES = {
    "quotes": "ts_ns,bid_px,ask_px,bid_sz\n1,1.1,1.2,\n2,1.1,1.3,10\n3,1.3,1.2,10\n",
    "bars": "ts_ns,close\n1,1.1\n2,1.25\n",
    "l2": "ts_ns,update,side,px,sz\n1,snapshot,bid,1.1,5\n1,snapshot,ask,1.2,7\n2,diff,ask,1.2,0\n",
    "symbols": "ts_ns,symbol,price\n1,EUR-USD,1.1\n2,OTHER,123456789012345678.123456789\n",
}


def _recording(folder: Path, name: str, symbol: str = "") -> Recording:
    file = folder / f"{name}.csv"
    file.write_text(FILES[name])
    return Recording(file, symbol)


@pytest.mark.parametrize("name", ["quotes", "bars", "l2"])
def test_one_instrument(tmp_path: Path, name: str) -> None:
    read = _recording(tmp_path, name)
    (tape,) = apart.read([read], [EUR_USD])
    assert [tape] == recording.read([read], [EUR_USD])
    assert len(tape) > 0
    assert tape.instrument is EUR_USD.id
    assert tape.event(1, 0, 0) == recording.read([read], [EUR_USD])[0].event(1, 0, 0)


def test_several_instruments_in_their_order(tmp_path: Path) -> None:
    read, listed = _recording(tmp_path, "symbols"), [OTHER, EUR_USD]
    tapes = apart.read([read], listed)
    assert tapes == recording.read([read], listed)
    assert [tape.instrument for tape in tapes] == [item.id for item in listed]


def test_what_cannot_be_read_is_refused_with_the_same_words(tmp_path: Path) -> None:
    missing = [Recording(tmp_path / "missing.csv")]
    with pytest.raises(DataError) as expected:
        recording.read(missing, [EUR_USD])
    with pytest.raises(DataError) as error:
        apart.read(missing, [EUR_USD])
    assert str(error.value) == str(expected.value)


@pytest.mark.parametrize(("program", "code"), [("false", 1), ("true", 0)])
def test_a_process_that_ends_without_an_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, code: int
) -> None:
    """As one that has no memory left."""
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(DataError, match=f"ended with code {code} before it had read them: give the venue's gateway"):
        apart.read([_recording(tmp_path, "quotes")], [EUR_USD])
