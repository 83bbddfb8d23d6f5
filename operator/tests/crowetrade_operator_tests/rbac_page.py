"""docs/rbac.md: what each of the chart's roles may do, and who has it, as helm renders them.

`make rbac-page` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crowetrade_operator_tests.charts import Object, of_kind, rendered
from crowetrade_operator_tests.servers import ROOT

PATH = ROOT / "docs/rbac.md"
# Everything that brings roles of its own.
SETTINGS = ("identity.source=CertManager", "identity.certManager.issuerRef.name=issuer")
_AGGREGATES = ("rbac.authorization.k8s.io/aggregate-to-", "trading.crowetrade.io/aggregate-to-")
_HEAD = """# Roles

<!-- Made by `make rbac-page` from the chart; a test compares. -->

What the chart's roles allow with `identity.source: CertManager`, the operator working in all namespaces. With
`operator.namespaces`, the operator's ClusterRole becomes a Role in each of them; without cert-manager the rule of
`cert-manager.io` is missing. `crowetrade-uninstall` is there during the last step of `helm uninstall` alone, and holds
in all namespaces, also with `operator.namespaces`: nothing can be bound in one that is gone. No process runs commands
in pods, and none reads Secrets but two Jobs that make one each: the authorizer's keys, and those by which the API
server asks the operator; the second may change that webhook, and is there after an installation or
upgrade alone. Which objects the operator may write is narrowed further by ValidatingAdmissionPolicies
([security.md](security.md)).
"""


def page() -> str:
    """The page."""
    objects = rendered(*SETTINGS)
    holders = dict(_holders(objects))
    parts = [_HEAD]
    for role in sorted(of_kind(objects, "ClusterRole", "Role"), key=_name):
        who = [*holders.get((role["kind"], role["metadata"]["name"]), ()), *_aggregated(role)]
        head = f"## {role['kind']} `{role['metadata']['name']}`"
        parts.append(f"{head}\n\nFor {', '.join(who) or 'whom you bind to it'}.\n")
        if "aggregationRule" in role:
            parts.append("It has the rules of every role that is aggregated to it.\n")
            continue
        rows = [_row(rule) for rule in role["rules"]]
        parts.append("\n".join(["| group | resources | verbs |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _holders(objects: list[Object]) -> Iterator[tuple[tuple[str, str], list[str]]]:
    found: dict[tuple[str, str], list[str]] = {}
    for binding in of_kind(objects, "ClusterRoleBinding", "RoleBinding"):
        role = (binding["roleRef"]["kind"], binding["roleRef"]["name"])
        for subject in binding["subjects"]:
            place = f" in `{binding['metadata']['namespace']}`" if binding["kind"] == "RoleBinding" else ""
            found.setdefault(role, []).append(f"{subject['kind']} `{subject['name']}`{place}")
    yield from found.items()


def _aggregated(role: Object) -> list[str]:
    labels = role["metadata"].get("labels") or {}
    return sorted(
        f"everybody who has `{label.removeprefix(prefix)}`"
        for label in labels
        for prefix in _AGGREGATES
        if label.startswith(prefix)
    )


def _row(rule: Object) -> str:
    names = f" named {_list(rule['resourceNames'])}" if rule.get("resourceNames") else ""
    groups = _list(group or "core" for group in rule["apiGroups"])
    return f"| {groups} | {_list(rule['resources'])}{names} | {', '.join(rule['verbs'])} |"


def _list(items: Iterable[str]) -> str:
    return ", ".join(f"`{item}`" for item in items)


def _name(role: Object) -> tuple[str, str]:
    return role["metadata"]["name"], role["kind"]


if __name__ == "__main__":
    PATH.write_text(page())
