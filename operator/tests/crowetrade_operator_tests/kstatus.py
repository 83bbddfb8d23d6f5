"""How kstatus reads a resource, and with it Flux, kpt and whoever else uses it."""

from __future__ import annotations

from typing import Any


def kstatus(item: dict[str, Any]) -> str:
    """By the rules of kstatus (cli-utils, pkg/kstatus/status) for kinds that it does not know."""
    status = item.get("status", {})
    conditions = status.get("conditions", [])
    if status.get("observedGeneration", item["metadata"]["generation"]) != item["metadata"]["generation"]:
        return "InProgress"
    for condition in conditions:
        if condition["type"] in ("Reconciling", "Stalled") and condition["status"] == "True":
            return {"Reconciling": "InProgress", "Stalled": "Failed"}[condition["type"]]
    ready = next((condition["status"] for condition in conditions if condition["type"] == "Ready"), "True")
    return "Current" if ready == "True" else "InProgress"
