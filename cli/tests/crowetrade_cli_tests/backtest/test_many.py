"""Ctrl-C in the middle of handing tasks to processes."""

from __future__ import annotations

import signal

import pytest

from crowetrade_cli.backtest.many import _interrupt_later


def test_an_interrupt_waits_for_the_end_of_what_must_not_stop_in_the_middle() -> None:
    done = []

    def hand_over() -> None:
        with _interrupt_later():
            signal.raise_signal(signal.SIGINT)
            done.append("handed over")

    with pytest.raises(KeyboardInterrupt):
        hand_over()
    assert done == ["handed over"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done = []
    with _interrupt_later():
        signal.raise_signal(signal.SIGINT)
        done.append("in the middle")
    done.append("afterwards")
    assert done == ["in the middle", "afterwards"]
