"""Pictures of what users see. Tests make them and see that they are not blank; `make screenshots` keeps them."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path

from PIL import Image

FOLDER = os.environ.get("CROWETRADE_SCREENSHOTS", "")
"""Where they are kept; empty when they are not."""
_COLOURS_OF_A_BLANK_PAGE = 16


def keep_png(name: str, content: bytes) -> None:
    """Raises AssertionError when it is blank."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    assert picture.getcolors(_COLOURS_OF_A_BLANK_PAGE) is None, f"{name} is blank"
    if FOLDER:
        # A third of the bytes; coverage keeps the colours of thin lines.
        few = picture.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(_path(f"{name}.png"), optimize=True)


def keep_svg(name: str, content: str) -> None:
    """Without the fonts that it would load from elsewhere."""
    if FOLDER:
        _path(f"{name}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", content, flags=re.DOTALL))


def _path(name: str) -> Path:
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name
