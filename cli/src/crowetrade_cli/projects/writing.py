"""Writes a project: the template with other names in it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from crowetrade_cli.errors import Failed
from crowetrade_cli.projects.names import ProjectNames

TEMPLATE = Path(__file__).parent / "strategy"
TEMPLATE_NAMES = ProjectNames("my-alpha", "my_alpha", "MyAlpha")
# Tools would heed them where the template lies.
_HIDDEN = {"gitignore": ".gitignore", "dockerignore": ".dockerignore"}
_LEFT_BEHIND = ("__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache")


def project_files(names: ProjectNames) -> dict[Path, str]:
    """The texts of the project's files by their paths in it."""
    replaced = {
        TEMPLATE_NAMES.project: names.project,
        TEMPLATE_NAMES.module: names.module,
        TEMPLATE_NAMES.model: names.model,
        "CROWETRADE_VERSION": version("crowetrade-cli"),
    }
    files = {}
    for file in sorted(TEMPLATE.rglob("*")):
        path = file.relative_to(TEMPLATE)
        if file.is_file() and not set(path.parts) & set(_LEFT_BEHIND):
            named = path.with_name(_HIDDEN.get(path.name, path.name))
            files[Path(_replace(str(named), replaced))] = _replace(file.read_text(encoding="utf-8"), replaced)
    return files


def write_files(folder: Path, files: Mapping[Path, str]) -> None:
    """Writes the files into a new folder. Raises Failed when there is something of that name already."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise Failed(f"{folder} is there already and was left as it is: choose another name or --out") from error
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def _replace(text: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text
