"""Runs of the benchmarks: what is kept of them, whatever becomes of them, and what `make bench-operator` measures."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from benchmarks.figures import Figure, Measure, NotMeasurable, figure
from benchmarks.operator.edits import EDITS, GATEWAY_EDITS
from benchmarks.operator.fleet import Fleet, Plan, plan_from
from benchmarks.operator.measured import Counts
from benchmarks.operator.run import _as_taken, measures
from benchmarks.record import LATEST, record

from crowetrade_operator.cluster.resources import CHILDREN
from crowetrade_operator_tests import servers

KEPT = '{"part": "operator", "name": "before"}\n'
OTHERS = ['{"part": "backtest", "name": "quotes"}', '{"part": "risk", "name": "all"}']


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with the figures of an earlier run of the operator."""
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / LATEST).write_text(KEPT)
    return folder


def measured(*names: str) -> Measure:
    return lambda: (figure(name, "s", [1.0]) for name in names)


def failing(error: BaseException, *names: str) -> Measure:
    def measure() -> Iterator[Figure]:
        yield from measured(*names)()
        raise error

    return measure


def kept(results: Path, pattern: str) -> list[str]:
    """Names of the figures in the only file of that name."""
    (path,) = results.glob(pattern)
    return [json.loads(line)["name"] for line in path.read_text().splitlines()]


def test_a_complete_run_is_the_newest_of_its_part(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert record("operator", {"first": measured("a", "b"), "second": measured("c")}, results)
    assert kept(results, LATEST) == ["a", "b", "c"]
    assert kept(results, "*Z-operator.jsonl") == ["a", "b", "c"]
    assert list(results.glob("*incomplete*")) == []
    printed = capsys.readouterr()
    assert [json.loads(line)["name"] for line in printed.out.splitlines()] == ["a", "b", "c"]
    assert printed.err == ""


def test_a_run_takes_the_place_of_its_part_alone(results: Path) -> None:
    (results / LATEST).write_text("".join(f"{text}\n" for text in (OTHERS[1], KEPT.strip(), OTHERS[0])))
    assert record("operator", {"first": measured("a")}, results)
    first, second, third = (results / LATEST).read_text().splitlines()
    assert [first, third] == OTHERS
    assert (json.loads(second)["part"], json.loads(second)["name"]) == ("operator", "a")


def test_each_figure_is_kept_before_the_next_one_is_measured(results: Path) -> None:
    def measure() -> Iterator[Figure]:
        for name in ("a", "b"):
            yield figure(name, "s", [1.0])
            assert kept(results, "*incomplete*")[-1] == name

    assert record("operator", {"all": measure}, results)


LEFT_OUT: dict[str, tuple[dict[str, Measure], list[str], str]] = {
    "something is missing here": (
        {"first": failing(NotMeasurable("etcd is not there")), "second": measured("c")},
        ["c"],
        "- first: etcd is not there",
    ),
    "the same is missing for two": (
        {"first": failing(NotMeasurable("no etcd")), "second": failing(NotMeasurable("no etcd")), "x": measured("c")},
        ["c"],
        "- first, second: no etcd",
    ),
    "a late failure": (
        {"first": measured("a"), "second": failing(RuntimeError("not within 1800 s"), "b", "c"), "x": measured("d")},
        ["a", "b", "c", "d"],
        "- second: RuntimeError: not within 1800 s (after c)",
    ),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_a_run_that_left_something_out_is_kept_beside_the_newest(
    what: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, names, said = LEFT_OUT[what]

    assert not record("operator", run, results)

    assert (results / LATEST).read_text() == KEPT
    assert kept(results, "*Z-operator-incomplete.jsonl") == names
    lines = capsys.readouterr().err.splitlines()
    assert said in lines
    (path,) = results.glob("*incomplete*")
    assert lines[-1] == (f"What was measured is in {path}; latest.jsonl and docs/performance.md are as they were.")


def test_a_run_that_is_stopped_keeps_what_it_has_measured(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = {"first": measured("a"), "second": failing(KeyboardInterrupt(), "b"), "third": measured("c")}

    with pytest.raises(KeyboardInterrupt):
        record("operator", run, results)

    assert kept(results, "*incomplete*") == ["a", "b"]
    assert (results / LATEST).read_text() == KEPT
    assert "- second, third: stopped" in capsys.readouterr().err.splitlines()


def test_without_an_api_server_nothing_of_the_operator_is_kept_as_its_newest_run(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a machine on which nothing was built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    servers.program.cache_clear()
    try:
        assert not record("operator", measures(tmp_path, Plan(growth=(300,))), results)
    finally:
        servers.program.cache_clear()
    assert (results / LATEST).read_text() == KEPT
    said = capsys.readouterr().err
    assert "- the fleet, a cold start of 300 in one namespace: etcd is not there: run `make" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("target", ["bench", "bench-operator", "bench-risk"])
def test_what_needs_an_api_server_builds_it_first(target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=servers.ROOT, capture_output=True, text=True, check=True)

    build, measure = done.stdout.index("tools.localcluster build"), done.stdout.index("-m benchmarks")
    assert build < measure


def test_a_large_fleet_is_that_of_the_guide_to_scaling() -> None:
    """What the benchmark is run with, as make sets it for it."""
    command = ["make", "--no-print-directory", "-f", "Makefile", "-f", "-", "bench-operator-large"]
    shown = "cluster-binaries: ; @:\nbench-operator: ; @env\n"
    done = subprocess.run(command, cwd=servers.ROOT, input=shown, capture_output=True, text=True, check=True)
    environment = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    plan = plan_from(environment)
    assert plan.fleet == Fleet(10_000, 100, 50)
    assert (plan.growth, plan.seconds) == ((1_000, 3_000, 10_000), 30.0)


def test_a_figure_of_an_event_loop_is_there_before_the_next_one_is_measured() -> None:
    begun = []

    async def figures() -> AsyncGenerator[Figure, None]:
        try:
            for name in ("a", "b", "c"):
                begun.append(name)
                if name == "c":
                    raise RuntimeError("late")
                yield figure(name, "s", [1.0])
        finally:
            begun.append("closed")

    taken = _as_taken(figures())
    for names in (["a"], ["a", "b"]):
        assert next(taken)["name"] == names[-1]
        assert begun == names
    with pytest.raises(RuntimeError, match="late"):
        next(taken)
    assert begun == ["a", "b", "c", "closed"]


def test_growth_is_measured_in_as_many_namespaces_as_the_fleet_has_for_its_size_and_in_one(tmp_path: Path) -> None:
    fleet = Fleet(10_000, 100, 50)

    assert list(measures(tmp_path, Plan(fleet, (1_000, 10_000)))) == [
        "the fleet",
        "a cold start of 1000",
        "a cold start of 1000 in one namespace",
        # Spread it is the fleet itself.
        "a cold start of 10000 in one namespace",
    ]
    assert [fleet.of_size(size) for size in (1_000, 3_000, 10_000)] == [
        Fleet(1_000, 10, 5),
        Fleet(3_000, 30, 15),
        fleet,
    ]
    assert Fleet(20, 2, 2).of_size(10) == Fleet(10, 1, 1)
    places = fleet.of_size(1_000).strategy_places()
    assert len({namespace for namespace, _, _ in places}) == 5


def test_every_kind_of_child_is_edited_in_every_way() -> None:
    assert set(EDITS) == set(CHILDREN)
    for resource, edits in EDITS.items():
        ways = {operation["op"] for patch in edits.values() for operation in patch}
        # Of these two, others may add what they like: it stays.
        stays = resource.plural in ("serviceaccounts", "configmaps")
        assert ways == {"replace", "remove"} | (set() if stays else {"add"}), resource.kind


def test_every_field_that_is_ours_alone_is_edited() -> None:
    for resource, edits in EDITS.items():
        patches = [*edits.values(), *GATEWAY_EDITS.get(resource, {}).values()]
        paths = {operation["path"] + "/" for patch in patches for operation in patch}
        for field in resource.only_ours:
            assert any(path.startswith(f"/{'/'.join(field)}/") for path in paths), (resource.kind, field)


def test_requests_are_counted_without_those_of_the_lease_and_watches_apart() -> None:
    samples = [
        ({"verb": verb, "resource": resource, "code": "200"}, value)
        for verb, resource, value in (
            ("watch", "services", 3.0),
            ("watch", "leases", 5.0),
            ("list", "strategies", 7.0),
            ("get", "discovery", 11.0),
            ("update", "leases", 13.0),
            ("apply", "services", 17.0),
        )
    ]
    counts = Counts({"crowetrade_operator_api_requests_total": samples})

    assert (counts.requests, counts.watches, counts.writes) == (35.0, 3.0, 17.0)
    assert counts.requests_since(Counts({})) == {"apply services": 17, "get discovery": 11, "list strategies": 7}
