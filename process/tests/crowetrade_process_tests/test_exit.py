"""The sentence of the end is logged and left for the kubelet."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from crowetrade_process.exit import failed


def test_the_sentence_is_logged_and_written(tmp_path: Path) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    with structlog.testing.capture_logs() as logs:
        assert failed(78, "configuration_error", "write 3", message, cause="c") == 78
    assert message.read_text() == "write 3"
    assert logs == [{"event": "configuration_error", "error": "write 3", "cause": "c", "log_level": "error"}]


@pytest.mark.parametrize("path", ["missing", "missing/folder"])
def test_outside_a_pod_nothing_is_written(tmp_path: Path, path: str) -> None:
    failed(1, "ended", "x", tmp_path / path)
    assert list(tmp_path.iterdir()) == []
