"""Mutation testing of the order path: `make mutation`. mutmut makes the mutants, this module runs the tests.

mutmut starts pytest for each mutant and calls every function through a wrapper, which takes seconds per mutant where
hundreds of tests cover a function. Here pytest collects once, and a process is forked per mutant. It gives the function
the code of its mutant and runs the collected tests that cover it until one fails: first those that killed its
neighbours, then one case of each test, then the others. Results stay where mutmut keeps them (gateway/mutants). A
second run tries the mutants of functions that changed; `--again survived` also those that survived, after a test was
added.

Runs in the folder gateway, where mutmut finds its configuration and names a mutant as its module is named.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import gc
import importlib
import json
import os
import random
import signal
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, TextIO

import pytest
from _pytest.runner import runtestprotocol
from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation.data import MutantLineSpans, SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import orig_function_and_class_names_from_key

PACKAGE = "crowetrade_agents."
NEEDS_SERVER = (PACKAGE + "journal.jetstream", PACKAGE + "journal.trim")
"""Mutants that tests with a real NATS server are run for, too."""
BROAD = ("/test_gate.py", "/test_written.py")
"""Tests that compare most of what a package says."""
GOAL = 90
SURVIVED, KILLED, NO_TESTS, SUSPICIOUS, TIMEOUT = 0, 1, 33, 35, 36
# A test that takes longer than this, and than twice its time in the run that follows each call, loops or waits forever.
CPU_SECONDS, SECONDS = 3.0, 15.0
COVERED = Path("mutants/covered.json")


class MutantRuns:
    """A plugin of pytest that, instead of running the tests once, runs them for each of the mutants."""

    def __init__(
        self, files: list[SourceFileMutationData], wanted: Callable[[str, int | None], bool], most_tests: int | None
    ) -> None:
        self._files = files
        self._most_tests = most_tests
        self._todo = [
            (file, name) for file in files for name, code in file.exit_code_by_key.items() if wanted(name, code)
        ]
        self.needs_server = any(name.startswith(NEEDS_SERVER) for _, name in self._todo)
        # What is done when somebody stops it is a random sample.
        random.Random(0).shuffle(self._todo)
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        self._sources_ns = max(Path(file.path).stat().st_mtime_ns for file in files)
        self._items: dict[str, pytest.Item] = {}
        self._versions: dict[str, str] = {}
        self._durations: dict[str, float] = {}
        self._covering: dict[str, set[str]] = defaultdict(set)
        # Tests by how many mutants of a function they killed, and of all functions.
        self._kills: dict[str, Counter[str]] = defaultdict(Counter)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Tests without a mutant, for their durations and for what they cover; then the mutants."""
        self._items = {item.nodeid: item for item in session.items}
        self._versions = {test: self._version(item) for test, item in self._items.items()}
        gc.freeze()
        answer = _forked(self._run_clean)[1]
        if answer:
            pytest.exit(f"without a mutant: {answer}", returncode=1)
        known = json.loads(COVERED.read_text())
        for test in self._items:
            self._durations[test], functions = known[self._versions[test]]
            for function in functions:
                self._covering[function].add(test)
        for number, (file, name) in enumerate(self._todo, 1):
            code = file.exit_code_by_key[name] = self._try(name)
            file.save()
            print(f"{number}/{len(self._todo)} {status_by_exit_code[code]} {name}", file=self._out)
        return True

    def _run_clean(self) -> str:
        """Finds out what each test covers, which takes minutes, once per version of the tests and the sources; or says
        what fails."""
        known = json.loads(COVERED.read_text()) if COVERED.exists() else {}
        names = {_function(name).__code__: _key(name) for file in self._files for name in file.exit_code_by_key}
        seen: set[CodeType] = set()

        def profile(frame: FrameType, event: str, argument: object) -> None:
            seen.add(frame.f_code)

        for item, following in _pairs(
            [item for test, item in self._items.items() if self._versions[test] not in known]
        ):
            seen.clear()
            sys.setprofile(profile)
            reports = runtestprotocol(item, log=False, nextitem=following)
            sys.setprofile(None)
            for report in reports:
                if report.failed:
                    return f"{item.nodeid} fails: {report.longreprtext}"
            covered = [names[code] for code in seen & names.keys()]
            known[self._versions[item.nodeid]] = sum(report.duration for report in reports), covered
        COVERED.write_text(json.dumps(known))
        return ""

    def _version(self, item: pytest.Item) -> str:
        return f"{item.nodeid} {item.path.stat().st_mtime_ns} {self._sources_ns}"

    def _try(self, name: str) -> int:
        kills = self._kills[_key(name)]
        tests = sorted(self._by_promise(name), key=lambda test: -kills[test])
        if not name.startswith(NEEDS_SERVER):
            tests = [test for test in tests if not self._items[test].get_closest_marker("integration")]
        if not tests:
            return NO_TESTS
        status, killer = _forked(lambda: self._first_failure(name, tests[: self._most_tests]))
        if killer:
            kills[killer] += 1
            self._kills[""][_without_parameters(killer)] += 1
            return KILLED
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGALRM, signal.SIGPROF):
            return TIMEOUT
        return SUSPICIOUS if status else SURVIVED

    def _by_promise(self, mutant: str) -> list[str]:
        """The tests of its module first. Then the fastest case of each test, then the next of each: the cases of a test
        mostly fail together."""
        own = (f"/test_{_key(mutant).split('.')[-2]}.py", *BROAD)
        taken: Counter[str] = Counter()
        ranked: list[tuple[int, int, int, str]] = []
        for test in sorted(self._covering[_key(mutant)], key=lambda test: (self._durations[test], test)):
            name = _without_parameters(test)
            rank = -1 if test.partition("::")[0].endswith(own) else taken[name]
            ranked.append((rank, -self._kills[""][name], len(ranked), test))
            taken[name] += 1
        return [test for *_, test in sorted(ranked)]

    def _first_failure(self, name: str, tests: list[str]) -> str:
        _mutate(name)
        for item, following in _pairs([self._items[test] for test in tests]):
            duration = self._durations[item.nodeid]
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS + 2 * duration)
            signal.setitimer(signal.ITIMER_REAL, SECONDS + 10 * duration)
            if any(report.failed for report in runtestprotocol(item, log=False, nextitem=following)):
                return item.nodeid
        return ""


def _without_parameters(test: str) -> str:
    return test.partition("[")[0]


def _pairs(items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Each with the one that follows, which pytest asks for to know what to tear down."""
    return zip(items, [*items[1:], None], strict=True)


def _key(mutant: str) -> str:
    """What all mutants of a function have in common."""
    return mutant.partition("__mutmut_")[0]


def _function(mutant: str) -> FunctionType:
    """The function as it is imported."""
    name, class_name = orig_function_and_class_names_from_key(mutant)
    found: Any = importlib.import_module(_key(mutant).rpartition(".")[0])
    for part in (class_name, name) if class_name else (name,):
        found = vars(found)[part]
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), mutant
    return found


@cache
def _spans(path: str) -> MutantLineSpans:
    found = MutantLineSpans.load(path)
    assert found is not None, path
    return found


def _mutate(mutant: str) -> None:
    """Gives the function the code of its mutant, wherever it has been imported already."""
    function = _function(mutant)
    path = f"src/{function.__module__.replace('.', '/')}.py"
    (source,) = _spans(path).read_function_sources([mutant.rpartition(".")[2]])
    made: dict[str, FunctionType] = {}
    text = f"from __future__ import annotations\n{textwrap.dedent(source)}"
    exec(compile(text, path, "exec"), function.__globals__, made)
    changed: Any = made[mutant.rpartition(".")[2]]
    changed = getattr(changed, "__func__", changed)
    function.__code__, function.__defaults__ = changed.__code__, changed.__defaults__
    function.__kwdefaults__ = changed.__kwdefaults__


def _forked(work: Callable[[], str]) -> tuple[int, str]:
    """Runs it in a process of its own and returns how that ended, with what was returned. Servers that tests start in
    it end with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setpgid(0, 0)
            with os.fdopen(writing, "w") as answer:
                answer.write(work())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return status, text


def _load() -> list[SourceFileMutationData]:
    files = [SourceFileMutationData(path=path) for path in walk_mutatable_files()]
    for file in files:
        file.load()
    return [file for file in files if file.exit_code_by_key]


def _report(files: list[SourceFileMutationData], out: TextIO) -> bool:
    """Prints the survivors, the modules and the packages; whether each package reaches the goal."""
    modules: dict[str, Counter[str]] = {}
    packages: dict[str, Counter[str]] = defaultdict(Counter)
    for file in files:
        module = str(file.path).removeprefix("src/crowetrade_agents/")
        modules[module] = Counter(status_by_exit_code[code] for code in file.exit_code_by_key.values())
        packages[module.partition("/")[0]] += modules[module]
        for name, code in file.exit_code_by_key.items():
            if code in (SURVIVED, NO_TESTS, SUSPICIOUS):
                lines = get_diff_for_mutant(name, path=file.path).splitlines()[2:]
                print(f"\n{status_by_exit_code[code]}: {name}", file=out)
                print("\n".join(line for line in lines if line.startswith(("-", "+"))), file=out)
    print(f"\n{'':<40} mutants  killed timeout survived no tests   score", file=out)
    for title, counts in [*sorted(modules.items()), *sorted(packages.items())]:
        killed, timeout, no_tests = counts["killed"], counts["timeout"], counts["no tests"]
        survived = counts["survived"] + counts["suspicious"]
        figures = f"{_tried(counts):>7} {killed:>7} {timeout:>7} {survived:>8} {no_tests:>8} {_score(counts):>6.1f}%"
        print(f"{title:<40} {figures}", file=out)
    return all(_score(counts) >= GOAL for counts in packages.values())


def _tried(counts: Counter[str]) -> int:
    return counts.total() - counts["not checked"]


def _score(counts: Counter[str]) -> float:
    tried = _tried(counts)
    return 100 * (counts["killed"] + counts["timeout"]) / tried if tried else 100.0


def main() -> int:
    """0 when in each package at least nine of ten mutants are killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", default=["*"], help="mutants, such as 'risk.gate.*'")
    parser.add_argument("--again", choices=["survived", "timeout"], help="try those of an earlier run again")
    parser.add_argument("--report", action="store_true", help="print the results of earlier runs")
    parser.add_argument("--tests", type=int, help="at most so many tests per mutant, those that killed most first")
    arguments = parser.parse_args()

    def wanted(name: str, code: int | None) -> bool:
        if not any(fnmatch.fnmatch(name.removeprefix(PACKAGE), only) for only in arguments.only):
            return False
        return code is None or (arguments.again is not None and status_by_exit_code[code] == arguments.again)

    if not arguments.report:
        os.makedirs("mutants", exist_ok=True)
        mutmut.create_mutants(1)
        options = ["--basetemp=mutants/tmp", *config().pytest_add_cli_args]
        tests = config().pytest_add_cli_args_test_selection
        runs = MutantRuns(_load(), wanted, arguments.tests)
        options += [] if runs.needs_server else ["-m", "not integration"]
        code = pytest.main([*options, *tests], plugins=[runs])
        if code:
            return int(code)
    return 0 if _report(_load(), sys.stdout) else 1


if __name__ == "__main__":
    sys.exit(main())
