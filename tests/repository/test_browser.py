from __future__ import annotations

import pytest
from tools import browser


def test_without_root_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(browser, "chromium", lambda: None)
    monkeypatch.setattr(browser, "can_install", lambda: False)
    assert browser.main() == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "skipped" in said
    assert said.endswith("apt-get install --no-install-recommends chromium-headless-shell fonts-inter\n")


def test_the_smallest_chromium_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda command: f"/usr/bin/{command}")
    assert browser.chromium() == "/usr/bin/chromium-headless-shell"
