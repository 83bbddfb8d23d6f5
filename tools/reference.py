"""The reference pages in docs/reference, from what they describe: kinds from the CRDs' schemas, commands from the
command line, metrics from where they are made, settings from the chart's values and their comments, conditions and
reasons from their lists."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.cli import get_docs_for_click

from crowetrade_api import crd
from crowetrade_api.conditions import WHEN_TRUE_BAD, ConditionType
from crowetrade_api.model import DocumentedEnum
from crowetrade_api.reasons import EventReason, Reason, WaitingReason
from crowetrade_cli.main import application
from crowetrade_operator.settings import from_environment

ROOT = Path(__file__).parent.parent
FOLDER = Path("docs/reference")
METRICS = {
    "Gateways, strategies and the risk-auditor": Path("agents/src/crowetrade_agents/metrics.py"),
    "The operator": Path("operator/src/crowetrade_operator/metrics.py"),
    "crowetrade-authorizer": Path("operator/src/crowetrade_operator/authorizer/metrics.py"),
    "Every process: identity": Path("process/src/crowetrade_process/identity/metrics.py"),
    "Every process: audit trail": Path("process/src/crowetrade_process/audit/metrics.py"),
}
VALUES = Path("charts/crowetrade/values.yaml")
VARIABLES = {
    "WORKERS": ("workers", "Reconciles at once."),
    "STATUS_WRITES_PER_SECOND": (
        "status_writes_per_second",
        "So many statuses are written for their figures alone, over all objects.",
    ),
    "RESYNC_SECONDS": ("resync_seconds", "In so long everything is looked at once, spread evenly. Seconds."),
    "SILENT_AFTER_SECONDS": (
        "silent_after_seconds",
        "A gateway or an agent that has not reported for so long is silent. Seconds, at least 7.",
    ),
    "STOP_DEADLINE_SECONDS": (
        "stop_deadline_seconds",
        "So long a deletion waits at most until gateways confirm that nothing is open. Seconds.",
    ),
    "LEASE_DURATION_SECONDS": ("lease.duration", "So long after its last renewal the Lease is another's. Seconds."),
    "LEASE_RENEW_SECONDS": ("lease.renew", "So long a leader tries to renew before it ends. Seconds."),
    "LEASE_RETRY_SECONDS": ("lease.retry", "Between two tries for the Lease, and two looks at it. Seconds."),
    "LOG_LEVEL": ("log_level", "The least severe that is logged."),
}
"""By variable: the field of the operator's Settings, and what it is."""
_TYPES = {"Counter": "counter", "Gauge": "gauge", "Histogram": "histogram"}
_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][A-Za-z0-9]*):(?: +(?P<value>\S.*))?$")


def write(root: Path) -> None:
    """Writes every page below `root`."""
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for page in (kinds, cli, metrics, settings, conditions, reasons):
        (root / FOLDER / f"{page.__name__}.md").write_text(page())


def kinds() -> str:
    """Every field of every kind, with its type, default and description."""
    parts = [_head("Kinds", "the resource models in `api/src/crowetrade_api/v1alpha1/`")]
    for model in crd.KINDS:
        definition = yaml.safe_load(crd.render(model))
        names = definition["spec"]["names"]
        (version,) = definition["spec"]["versions"]
        schema = version["schema"]["openAPIV3Schema"]
        short = ", ".join(f"`{name}`" for name in names.get("shortNames", []))
        parts.append(f"## {names['kind']}\n\n{_sentence(schema.get('description', ''))}\n")
        parts.append(f"`kubectl get {names['plural']}`, or {short}.\n")
        columns = [
            (one["name"], f"`{one['jsonPath']}`", one.get("description", ""))
            for one in version.get("additionalPrinterColumns", [])
        ]
        parts.append(_table(("column", "from", "what it says"), columns))
        for part in ("spec", "status"):
            rows = list(_fields(schema["properties"].get(part, {}), part))
            parts.append(f"### {names['kind']} {part}\n\n" + _table(("field", "type", "default", "what it is"), rows))
    return "\n".join(parts)


def cli() -> str:
    """Every command and option."""
    command = typer.main.get_command(application())
    context = typer.Context(command, info_name="crowetrade")
    text = get_docs_for_click(obj=command, ctx=context, name="crowetrade", title="Command line")
    text = text.replace("# Command line\n", _head("Command line", "`cli/src/crowetrade_cli/`"), 1)
    return "\n".join(line.rstrip() for line in text.splitlines()).rstrip() + "\n"


def metrics() -> str:
    """Every metric by the process that has it."""
    parts = [_head("Metrics", "the modules where they are made")]
    for title, path in METRICS.items():
        rows = sorted(_metrics(ast.parse((ROOT / path).read_text())))
        parts.append(f"## {title}\n\n" + _table(("metric", "type", "labels", "what it says"), rows))
    return "\n".join(parts)


def settings() -> str:
    """Every value of the chart, and what else the operator reads."""
    rows = _values((ROOT / VALUES).read_text())
    columns = "default", "what it is"
    parts = [_head("Settings", f"`{VALUES}` and the operator's defaults"), _table(("value", *columns), rows)]
    parts.append("## Variables of the operator\n\nFor `operator.env`; the chart sets the others that it reads.\n")
    parts.append(_table(("variable", *columns), _variables()))
    return "\n".join(parts)


def _variables() -> Iterator[tuple[str, str, str]]:
    """Each with its default. Raises RuntimeError for one that the operator does not read."""
    needed = {"OPERATOR_NAMESPACE": "system"}
    for name, (field, what) in VARIABLES.items():
        read = operator.attrgetter(field)
        default = read(from_environment(needed))
        other = "DEBUG" if isinstance(default, str) else str(default + 1)
        if read(from_environment({**needed, name: other})) == default:
            raise RuntimeError(f"the operator does not read {name}")
        yield f"`{name}`", f"`{default}`", what


def conditions() -> str:
    """Every condition, and which of its statuses is the good one."""
    rows = [(f"`{item}`", "False" if item in WHEN_TRUE_BAD else "True", item.doc) for item in _sorted(ConditionType)]
    text = (
        "`kubectl describe` shows them; programs read them. Those that tools for GitOps read are explained in\n"
        "[gitops.md](../gitops.md). A condition says why in a reason: [reasons.md](reasons.md).\n"
    )
    head = _head("Conditions", "`api/src/crowetrade_api/conditions.py`")
    return f"{head}\n{text}\n" + _table(("condition", "good when", "what True says"), rows)


def reasons() -> str:
    """Every reason of a condition and of an event, and why agents wait, with what to do."""
    parts = [_head("Reasons", "`api/src/crowetrade_api/reasons.py`")]
    parts.append(
        "The message beside a reason names the object, the field and the remedy; here is what is always true. Where\n"
        "nothing is to be done, it passes by itself, or is as somebody wants it.\n"
    )
    for title, words in (
        ("Of conditions", Reason),
        ("Of events alone", EventReason),
        ("Why an agent does not trade", WaitingReason),
    ):
        rows = [(f"`{item}`", item.doc, item.remedy) for item in _sorted(words)]
        parts.append(f"## {title}\n\n" + _table(("reason", "what it says", "what to do"), rows))
    return "\n".join(parts)


def _sorted(words: type[DocumentedEnum]) -> list[DocumentedEnum]:
    return sorted(words, key=str)


def _head(title: str, source: str) -> str:
    return f"# {title}\n\nGenerated by `make generate` from {source}.\n"


def _fields(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str, str]]:
    for name, item in schema.get("properties", {}).items():
        here, inner = f"{path}.{name}", item
        if item.get("type") == "array":
            here, inner = f"{here}[]", item["items"]
        elif isinstance(item.get("additionalProperties"), Mapping):
            here, inner = f"{here}.*", item["additionalProperties"]
        default = (
            f"`{yaml.safe_dump(item['default'], default_flow_style=True).split(chr(10))[0]}`"
            if "default" in item
            else ""
        )
        required = " (required)" if name in schema.get("required", []) else ""
        yield f"`{here}`", _type(inner) + required, default, _sentence(item.get("description", ""))
        yield from _fields(inner, here)


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(str(one) for one in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    return str(schema.get("format") or schema.get("type") or "any")


def _metrics(tree: ast.Module) -> Iterator[tuple[str, str, str, str]]:
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _TYPES):
            continue
        name, text = (_text(one, constants) for one in node.args[:2])
        labels = [str(label) for label in ast.literal_eval(node.args[2])] if len(node.args) > 2 else []
        if node.func.id == "Counter" and not name.endswith("_total"):
            name += "_total"
        yield f"`{name}`", _TYPES[node.func.id], ", ".join(f"`{label}`" for label in labels), text


def _text(node: ast.expr, constants: Mapping[str, ast.expr]) -> str:
    """A string, or an f-string of strings and constants of the module."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        return _text(constants[node.value.id], constants)
    return str(ast.literal_eval(node))


def _values(text: str) -> Iterator[tuple[str, str, str]]:
    path: list[tuple[int, str]] = []
    comments: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comments.append(stripped.removeprefix("#").strip())
            continue
        found = _KEY.match(line)
        if found is not None:
            indent = len(found["indent"])
            path = [one for one in path if one[0] < indent] + [(indent, found["key"])]
            value = found["value"] or ""
            if value or comments:
                default = f"`{value}`" if value else ""
                yield f"`{'.'.join(key for _, key in path)}`", default, " ".join(comments)
        comments = []


def _sentence(text: str) -> str:
    return " ".join(text.split())


def _table(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(_sentence(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
