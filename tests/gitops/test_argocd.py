"""The checks and actions for Argo CD, run by Lua over statuses that the operator decides, and read as kstatus reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime, lua_type

from crowetrade_api import crd
from crowetrade_operator_tests.kstatus import kstatus
from tests.gitops.argocd import ACTIONS, COMMAND, CONFIG_MAP, GROUP, KINDS, ROOT, documents

Object = dict[str, Any]
BARE = "string, io, os, require, dofile, loadfile, package = nil; getmetatable('').__index = nil"
"""Argo CD gives a script no library but the basic one and `table`."""
CASES = [
    (kind, test["inputPath"], test["healthStatus"])
    for kind in KINDS
    for test in yaml.safe_load((ROOT / GROUP / kind / "health_test.yaml").read_text())["tests"]
]


def run(script: str, item: Object) -> Any:
    """What a script returns for an object."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.execute(BARE)
    lua.globals().obj = _to_lua(lua, item)
    return _to_python(lua.execute(script))


def _to_lua(lua: LuaRuntime, value: Any) -> Any:
    if isinstance(value, Mapping):
        return lua.table_from({key: _to_lua(lua, item) for key, item in value.items()})
    if isinstance(value, list):
        return lua.table_from([_to_lua(lua, item) for item in value])
    return value


def _to_python(value: Any) -> Any:
    if lua_type(value) != "table":
        return value
    keys = list(value)
    if keys == list(range(1, len(keys) + 1)) and keys:
        return [_to_python(value[key]) for key in keys]
    return {key: _to_python(value[key]) for key in keys}


def read(kind: str, path: str) -> Object:
    found: Object = yaml.safe_load((ROOT / GROUP / kind / path).read_text())
    return found


def script(kind: str, path: str) -> str:
    return (ROOT / GROUP / kind / path).read_text()


def test_the_files_are_what_the_operator_decides() -> None:
    wanted = documents()
    differing = [str(path) for path, text in wanted.items() if not _is(path, text)]
    assert differing == [], f"write them again: {COMMAND}"
    stored = {path.relative_to(ROOT) for path in (ROOT / GROUP).rglob("*.yaml")} | {CONFIG_MAP}
    assert stored == set(wanted)


def _is(path: Path, text: str) -> bool:
    return (ROOT / path).is_file() and (ROOT / path).read_text() == text


@pytest.mark.parametrize(("kind", "path", "expected"), CASES, ids=[f"{kind}/{path}" for kind, path, _ in CASES])
def test_health(kind: str, path: str, expected: Object) -> None:
    assert run(script(kind, "health.lua"), read(kind, path)) == expected


@pytest.mark.parametrize(("kind", "path", "expected"), CASES, ids=[f"{kind}/{path}" for kind, path, _ in CASES])
def test_kstatus_and_argo_cd_agree(kind: str, path: str, expected: Object) -> None:
    """kstatus knows no suspension."""
    same = {"Healthy": "Current", "Suspended": "Current", "Progressing": "InProgress", "Degraded": "Failed"}
    assert kstatus(read(kind, path)) == same[expected["status"]]


def test_one_check_does_for_every_kind() -> None:
    assert {model.__name__ for model in crd.KINDS} == set(KINDS)
    assert len({script(kind, "health.lua") for kind in KINDS}) == 1


@pytest.mark.parametrize("kind", ACTIONS)
def test_actions(kind: str) -> None:
    tests = read(kind, "actions/action_test.yaml")
    for test in tests["discoveryTests"]:
        found = run(script(kind, "actions/discovery.lua"), read(kind, f"actions/{test['inputPath']}"))
        assert found == {item["name"]: {"disabled": item["disabled"]} for item in test["result"]}
    for test in tests["actionTests"]:
        action = script(kind, f"actions/{test['action']}/action.lua")
        after = run(action, read(kind, f"actions/{test['inputPath']}"))
        assert after == read(kind, f"actions/{test['expectedOutputPath']}")
