"""What must not be in the tree."""

from __future__ import annotations

import operator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_folder_operator_does_not_hide_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert operator.add(1, 1) == 2
