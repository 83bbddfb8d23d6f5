"""What another process reads is what this one would have read."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
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


ENDS = {
    "by itself": ("exit 3", "ended with code 3 before it had read them: the log says why"),
    "killed": ("kill -9 $$", "was killed before it had read them, as where there is no memory left: give the venue's"),
    "in the middle of an answer": ("printf '\\x80\\x04\\x95'; kill -9 $$", "was killed before it had read them"),
    "never, and writes something else": ("echo hello; sleep 60", "has written what is no answer: the log says why"),
}


@pytest.mark.parametrize(("script", "said"), ENDS.values(), ids=ENDS)
def test_a_process_that_gives_no_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(DataError, match=said):
        apart.read([_recording(tmp_path, "quotes")], [EUR_USD])


def test_whoever_asks_does_not_load_what_reading_needs(tmp_path: Path) -> None:
    """60 MiB in every gateway."""
    code = (
        "import sys; from pathlib import Path; from crowetrade_agents.venues.adapters.simulated import apart\n"
        "from crowetrade_agents.venues.adapters.simulated.spec import Recording\n"
        "from crowetrade_agents.domain.instrument import Instrument, InstrumentId\n"
        "from decimal import Decimal; one = Decimal(1)\n"
        "listed = Instrument(InstrumentId('v', 'A'), 'USD', one, one, one, one)\n"
        "assert len(apart.read([Recording(Path(sys.argv[1]), 'A')], [listed])) == 1\n"
        "print(sorted({'pyarrow', 'numpy', 'pandas'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, str(_recording(tmp_path, "quotes").path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


class Reads:
    """Whoever reads it writes a letter."""

    def __reduce__(self) -> tuple[Callable[[int, bytes], int], tuple[int, bytes]]:
        return os.write, (1, b"x")


def test_ctrl_c_ends_it_without_a_word() -> None:
    """Whoever asks says what there is to say."""
    command = [sys.executable, "-m", apart.__name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(Reads(), protocol=2)[:-1])  # and the rest never comes
        process.stdin.flush()
        assert process.stdout.read(1) == b"x"
        process.send_signal(signal.SIGINT)
        assert process.communicate() == (b"", b"")
    assert process.returncode == -signal.SIGINT
