"""Pages of one file each: nothing is fetched, and whatever comes from a manifest, a model or a venue is escaped."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from crowetrade_cli.results.figures import count, money, utc


def render(template: str, **values: Any) -> str:
    """The page of a template in the folder `page`."""
    import jinja2
    from markupsafe import Markup

    folder = Path(str(files("crowetrade_cli.results"))) / "page"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"money": money, "count": count, "utc": utc}
    script = (folder / "script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        style=Markup((folder / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        **values,
    )
