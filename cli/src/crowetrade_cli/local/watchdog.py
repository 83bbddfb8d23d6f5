"""Says which model holds a run, and ends the run when it is asked to stop meanwhile.

All that runs here shares one event loop. A model that does not return holds it, and with it everything that would
notice: what is shown, --for, the handlers of SIGTERM and SIGINT. A thread notices: it asks the loop for an answer a few
times a second, and hears of signals before the loop does, because the interpreter writes their numbers to a file
descriptor the moment that they come (`signal.set_wakeup_fd`), whatever Python code is running.

A run that is ended so ends as by SIGKILL. A record of a journal is on disk before what follows from it leaves, so
nothing is lost; the next run finds the orders that were open, asks its venue for them, and cancels what still works.

A thread needs the interpreter: native code that keeps it and never returns can be ended by SIGQUIT (Ctrl-\\) and
SIGKILL alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, NoReturn, Self

import structlog

from crowetrade_cli.local.wanted import Address

LOOK_SECONDS = 0.25
HOLDS_AFTER_LOOKS = 12
"""Looks without an answer of the loop after which it counts as held."""
HOLDS_SECONDS = HOLDS_AFTER_LOOKS * LOOK_SECONDS
GIVEN_UP_AFTER_LOOKS = 80
"""The same where no model is at work: a busy machine is slow to start a run, and that is no reason to end it."""
FAILED = 1
INTERRUPTED = 128 + signal.SIGINT
"""As a shell reports a process that SIGINT ended."""
SHOW_CURSOR = b"\x1b[?25h"

_log = structlog.get_logger(__name__)


class ModelAtWork(NamedTuple):
    """A strategy, the role that its model works for, and when it began, by `time.perf_counter`."""

    strategy: Address
    role: str
    since: float


class LoopWatchdog(AbstractContextManager["LoopWatchdog"]):
    """A daemon thread from `with` to its end. It is entered and left in the main thread, while the loop runs.

    `at_work` is called in the thread. `seconds` is that of --for. Looks are counted rather than time, so that a process
    that is stopped and continued (Ctrl-Z, a laptop that sleeps) is not taken for one that hangs.
    """

    def __init__(self, at_work: Callable[[], ModelAtWork | None], seconds: float | None) -> None:
        self._at_work = at_work
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self._loop = asyncio.get_running_loop()
        self._reader, self._writer = socket.socketpair()
        self._wakes_loop = -1
        self._unanswered = 0
        # Whether a signal has asked the run to stop, and of which model it was said that it holds the run.
        self._asked = False
        self._said: ModelAtWork | None = None
        self._leaving = threading.Event()
        self._over = threading.Event()
        self._answered = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-watchdog", daemon=True)

    def __enter__(self) -> Self:
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._wakes_loop = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._writer.send(b"\0")  # wakes the thread; no signal has this number
        self._thread.join()
        signal.set_wakeup_fd(self._wakes_loop)
        self._reader.close()
        self._writer.close()

    def leave_on_interrupt(self) -> None:
        """The run is stopping: from now on a Ctrl-C ends the process at once."""
        self._leaving.set()

    def _watch(self) -> None:
        self._ask()
        while not self._over.is_set():
            came, _, _ = select.select([self._reader], [], [], LOOK_SECONDS)
            if came:
                self._hear(self._reader.recv(4096))
            elif self._answered.is_set():
                self._goes_on()
                self._ask()
            else:
                self._unanswered += 1
            if self._unanswered >= HOLDS_AFTER_LOOKS:
                self._held()

    def _ask(self) -> None:
        self._unanswered = 0
        self._answered.clear()
        self._loop.call_soon_threadsafe(self._answered.set)

    def _hear(self, numbers: bytes) -> None:
        """Takes note of signals, then hands them on to the loop, which gets them once it runs. In this order: at the
        first Ctrl-C the loop begins to leave, and only another one leaves at once."""
        for number in numbers:
            if number == signal.SIGINT and (self._asked or self._leaving.is_set()):
                _end(INTERRUPTED)
            self._asked = self._asked or number in (signal.SIGINT, signal.SIGTERM)
        with contextlib.suppress(OSError):
            os.write(self._wakes_loop, numbers)

    def _held(self) -> None:
        model = self._at_work()
        if model is not None and time.perf_counter() - model.since < HOLDS_SECONDS:
            model = None  # it is called again and again, and returns
        if model is not None and self._said is None:
            self._said = model
            _say(
                f"Error: {_name(model)} has not returned to the {model.role} role for {HOLDS_SECONDS:g} s and holds "
                "all that runs here: a hook must return at once. Ctrl-C or SIGTERM ends this run if it never does"
            )
        asked = self._asked or (self._ends_at is not None and time.monotonic() >= self._ends_at)
        if asked and (model is not None or self._unanswered >= GIVEN_UP_AFTER_LOOKS):
            who = "it" if model is None else _name(model)
            _say(
                f"Error: this run ends without an orderly stop, because {who} does not answer. Its journals are "
                "complete, and the next run with the same --state goes on from them; an order that is open now is "
                "canceled then"
            )
            _end(FAILED)

    def _goes_on(self) -> None:
        if self._said is not None:
            held = time.perf_counter() - self._said.since
            _say(f"{_name(self._said)} has returned after {held:.1f} s, and the run goes on")
            self._said = None


def _name(model: ModelAtWork) -> str:
    return f"the model of strategy {model.strategy.namespace}/{model.strategy.name}"


def _say(sentence: str) -> None:
    """To the terminal, past every buffer, because the thread that is held may have locked it; and to the log."""
    with contextlib.suppress(OSError):
        # A live table leaves the cursor at the end of its last line.
        begin = "\n" if sys.stderr.isatty() else ""
        os.write(sys.stderr.fileno(), f"{begin}{sentence}\n".encode())
    _log.warning("run_is_held", text=sentence)


def _end(code: int) -> NoReturn:
    """Ends the process where it stands."""
    if sys.stdout.isatty():
        os.write(sys.stdout.fileno(), SHOW_CURSOR)
    os._exit(code)
