"""A page as headless Chromium makes it."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser, ViewportSize


def rendered(browser: Browser, page: Path, *, width: int = 1000) -> tuple[str, list[str]]:
    """The page's elements when its scripts have run, and what they and Chromium wrote to the console."""
    said: list[str] = []
    tab = browser.new_page(viewport=ViewportSize(width=width, height=900))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(page.as_uri())
    shown = tab.content()
    tab.close()
    return shown, said
