"""Options that the commands about a cluster share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

Kubeconfig = Annotated[str, typer.Option(metavar="FILE", help="Instead of $KUBECONFIG or ~/.kube/config.")]
Context = Annotated[str, typer.Option(metavar="NAME", help="Of the kubeconfig, instead of the current one.")]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace; that of the kubeconfig's context unless named.")
]
Nats = Annotated[
    str,
    typer.Option(
        "--nats", metavar="URL", envvar="CROWETRADE_NATS", help="Address of the bus; remembered for this cluster."
    ),
]


class Format(StrEnum):
    """How a command shows what it found."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="For people, or for programs.")]
