"""The wheels, built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.repository.environments import run


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make wheels` builds."""
    folder = tmp_path_factory.mktemp("wheels") / "dist"
    run("make", "--no-print-directory", "wheels", f"WHEELS={folder}")
    return folder
