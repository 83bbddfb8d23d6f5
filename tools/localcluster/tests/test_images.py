from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tools.localcluster import images, node, paths

_NAME = "docker.io/crowetrade/agents:1"


def _recorded(name: str, identity: str) -> None:
    paths.write(paths.state() / "loaded" / hashlib.sha256(name.encode()).hexdigest()[:16], f"{identity}\n{name}")


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        # The very image is on the node by another name.
        ({"docker.io/a/same:1"}, [f"tag docker.io/a/same:1 {_NAME}"]),
        # It was, and is gone.
        (set(), [f"transfer {_NAME}"]),
        ({"docker.io/a/other:1"}, [f"transfer {_NAME}"]),
        # The name is there, for the image of before.
        ({_NAME}, [f"transfer {_NAME}"]),
        ({_NAME, "docker.io/a/same:1"}, [f"tag docker.io/a/same:1 {_NAME}"]),
    ],
)
def test_an_image_that_is_on_the_node_gets_another_name_there(
    cache: Path, monkeypatch: pytest.MonkeyPatch, present: set[str], expected: list[str]
) -> None:
    done: list[str] = []
    monkeypatch.setattr(images, "image_id", lambda name: "new")
    monkeypatch.setattr(images, "present", lambda: sorted(present))
    monkeypatch.setattr(images, "_transfer", lambda name: done.append(f"transfer {name}"))
    monkeypatch.setattr(node, "ctr", lambda *arguments: done.append(" ".join((arguments[1], *arguments[3:]))))
    _recorded("docker.io/a/same:1", "new")
    _recorded("docker.io/a/other:1", "old")
    _recorded(_NAME, "old")
    assert images.load(_NAME)
    assert done == expected
    present.add(_NAME)
    assert not images.load(_NAME), "it is there now"
