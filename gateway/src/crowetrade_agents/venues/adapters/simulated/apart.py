"""Reads recordings in a process of its own, which ends when they are read.

What reading needs (pyarrow, and numpy where no trading hours need it, 60 MiB of memory together) a gateway never needs
again. Tapes come over a pipe one after the other, so that at no time both sides hold all of them.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated.spec import Recording
from crowetrade_agents.venues.adapters.simulated.tape import AnyTape

END_SECONDS = 1.0
"""For a process that answers no more."""
_UNREADABLE = (pickle.UnpicklingError, EOFError, OSError, ValueError, AttributeError, ImportError, IndexError)
"""What `pickle` raises for what is no answer, or half of one."""
_Answer = AnyTape | DataError | None
"""None follows the last tape."""


def read(recordings: Sequence[Recording], instruments: Sequence[Instrument]) -> list[AnyTape]:
    """As recording.read. Raises DataError also when the process ends before it has read all."""
    with subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        tapes: list[AnyTape] = []
        try:
            with process.stdin as question:
                pickle.dump((tuple(recordings), tuple(instruments)), question)
            while (tape := _answer(process.stdout)) is not None:
                tapes.append(tape)
        except _UNREADABLE as error:
            raise DataError(_why(process)) from error
    # The gateway's tables are keyed by these very objects, which are found sooner than equal ones.
    known = {item.id: item.id for item in instruments}
    for tape in tapes:
        tape.instrument = known[tape.instrument]
    return tapes


def _why(process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return "the process that reads the recordings has written what is no answer: the log says why"
    if code == -signal.SIGKILL:
        return (
            "the process that reads the recordings was killed before it had read them, as where there is no memory "
            "left: give the venue's gateway more (spec.resources), or shorten the recordings"
        )
    return f"the process that reads the recordings ended with code {code} before it had read them: the log says why"


def _answer(stream: IO[bytes]) -> AnyTape | None:
    answer: _Answer = pickle.load(stream)
    if isinstance(answer, DataError):
        raise answer
    return answer


def _read_for(question: IO[bytes], answer: IO[bytes]) -> None:
    # Here alone: whoever asks must not need what it imports.
    from crowetrade_agents.venues.adapters.simulated import recording

    recordings, instruments = pickle.load(question)
    try:
        tapes = recording.read(recordings, instruments)
    except DataError as error:
        pickle.dump(error, answer)
        return
    tapes.reverse()
    while tapes:
        pickle.dump(tapes.pop(), answer)
    pickle.dump(None, answer)


if __name__ == "__main__":
    # Ctrl-C at a terminal is for whoever asks: this process then ends without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _read_for(sys.stdin.buffer, sys.stdout.buffer)
