"""The names of a project: one that a person chooses, and those that follow from it."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass

from crowetrade_api.v1alpha1.common import OBJECT_NAME
from crowetrade_cli.errors import WrongUse

# The manifests' names end with -sim where they are no name of the strategy itself, and have at most 40 characters.
MAX_LENGTH = 36


@dataclass(frozen=True, slots=True)
class ProjectNames:
    """`my-alpha`, `my_alpha` and `MyAlpha`: of folder, distribution and manifests, of the module, of the class."""

    project: str
    module: str
    model: str

    @classmethod
    def of(cls, project: str) -> ProjectNames:
        """Raises WrongUse when no manifest or no Python module can have this name."""
        if len(project) > MAX_LENGTH or re.fullmatch(OBJECT_NAME, project, re.ASCII) is None:
            raise WrongUse(
                f"{project!r:.80} cannot name a strategy and a Python module: use at most {MAX_LENGTH} lower-case "
                "letters, digits and '-', a letter first and no '-' last, such as my-alpha"
            )
        module = project.replace("-", "_")
        if keyword.iskeyword(module) or module in sys.stdlib_module_names or module.startswith("crowetrade"):
            raise WrongUse(f"{project} would hide the Python module {module}: choose another name, such as my-alpha")
        return cls(project, module, "".join(part.capitalize() for part in project.split("-")))
