"""Reads recordings in a process of its own, which ends when they are read.

What reading needs (pyarrow and numpy, 60 MiB of memory) a gateway never needs again. Tapes come over a pipe one after
the other, so that at no time both sides hold all of them.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import IO

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated.spec import Recording
from crowetrade_agents.venues.adapters.simulated.tape import AnyTape

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
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise DataError(
                f"the process that reads the recordings ended with code {process.wait()} before it had read them: give "
                "the venue's gateway more memory (spec.resources), or shorten the recordings"
            ) from error
    # The gateway's tables are keyed by these very objects, which are found sooner than equal ones.
    known = {item.id: item.id for item in instruments}
    for tape in tapes:
        tape.instrument = known[tape.instrument]
    return tapes


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
    _read_for(sys.stdin.buffer, sys.stdout.buffer)
