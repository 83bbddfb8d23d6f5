"""`crowetrade resume`: lets a suspended Strategy or VenueConnection trade again."""

from __future__ import annotations

from crowetrade_cli.commands.cluster import Context, Kubeconfig, Namespace
from crowetrade_cli.commands.suspend import Suspendable, set_suspend
from crowetrade_cli.fleet.kubeconfig import find


def resume(names: Suspendable, namespace: Namespace = "", kubeconfig: Kubeconfig = "", context: Context = "") -> None:
    """Let trade again what was suspended. Breaches and KillSwitches stay as they are."""
    set_suspend(names, False, namespace, find(kubeconfig, context))
