"""`crowetrade audit verify`: whether the audit trail is as it was written, and where it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from crowetrade import subjects
from crowetrade_cli.audit.source import open_source
from crowetrade_cli.commands.audit.options import File
from crowetrade_cli.commands.cluster import Context, Kubeconfig
from crowetrade_cli.commands.journal.options import DEFAULT_NATS, Nats
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.fleet.api_server import connect
from crowetrade_cli.fleet.kubeconfig import find
from crowetrade_process.audit.chain import Head
from crowetrade_process.audit.checkpoints import Authorities
from crowetrade_process.audit.verification import HEADS_CONFIG_MAP, Findings, Verification, parse_heads, read_heads

DAY_SECONDS = 86_400
DEFAULT_DAYS = subjects.AUDIT_RETENTION_SECONDS // DAY_SECONDS


def verify(
    file: File = None,
    nats: Nats = DEFAULT_NATS,
    ca: Annotated[
        Path | None,
        typer.Option(help="Certificates (PEM) of the authorities of all identities, old ones too."),
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option(help=f"Heads that were kept: the data of ConfigMap {HEADS_CONFIG_MAP} as JSON, old copies too."),
    ] = None,
    operator_namespace: Annotated[
        str, typer.Option(help=f"Namespace of the operator, to read ConfigMap {HEADS_CONFIG_MAP} there.")
    ] = "",
    retention_days: Annotated[
        int, typer.Option(min=1, help="How long records are kept: older ones may be missing at the beginning.")
    ] = DEFAULT_DAYS,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Verify every writer's chain: that no record was changed, deleted or moved, and who vouches for it.

    That the end was cut off, or a chain deleted, is found with --operator-namespace or --heads alone; that all was
    written anew, with --ca or these. Exit code 0: whole. 1: broken, or it cannot be read; the message names the writer
    and the record.
    """
    if heads is not None and operator_namespace:
        raise WrongUse("name either --heads or --operator-namespace")
    authorities = _authorities(ca) if ca is not None else None
    asyncio.run(_verify(file, nats, authorities, heads, operator_namespace, retention_days, kubeconfig, context))


async def _verify(
    file: Path | None,
    nats: str,
    authorities: Authorities | None,
    heads: Path | None,
    operator_namespace: str,
    retention_days: int,
    kubeconfig: str,
    context: str,
) -> None:
    # Before the records: they are then at least as new.
    on_record: Mapping[str, Head] | None = None
    if heads is not None:
        on_record = _heads_of(heads)
    elif operator_namespace:
        on_record = await _heads_in(operator_namespace, kubeconfig, context)
    verification = Verification(time.time_ns(), retention_days * DAY_SECONDS, authorities, on_record)
    async with open_source(file, nats) as source:
        async for subject, payload in source.records():
            verification.follow(subject, payload)
    found = verification.finish()
    for one in found:
        if not one.problem:
            typer.echo(_summary(one, authorities is not None))
    if on_record is None:
        typer.echo("note: without --operator-namespace or --heads an end that was cut off is not found", err=True)
    if authorities is None:
        typer.echo("note: without --ca the certificates of checkpoints are taken at their word", err=True)
    problems = [one.problem for one in found if one.problem]
    if problems:
        raise Failed(f"the audit trail is broken: {'; '.join(problems)}")
    if not found:
        typer.echo("the audit trail is empty")


def _summary(found: Findings, is_judged: bool) -> str:
    text = f"{found.writer}: records {found.begins_with} to {found.ends_with} are as they were written"
    if found.vouched_to:
        text += f", signed up to {found.vouched_to}" + ("" if is_judged else " by a certificate that is not judged")
    else:
        text += ", not signed"
    if found.lost:
        text += f"; {found.lost} events were lost when they happened"
    return text


def _authorities(file: Path) -> Authorities:
    try:
        return Authorities(file.read_bytes())
    except (OSError, ValueError) as error:
        raise WrongUse(f"--ca {file} holds no certificates in PEM: {error}") from error


def _heads_of(file: Path) -> dict[str, Head]:
    try:
        return parse_heads(file.read_text())
    except (OSError, ValueError) as error:
        raise WrongUse(
            f"--heads {file} cannot be read ({error}): write there what kubectl get configmap {HEADS_CONFIG_MAP} -o "
            "jsonpath={.data} says"
        ) from error


async def _heads_in(namespace: str, kubeconfig: str, context: str) -> dict[str, Head]:
    async with connect(find(kubeconfig, context)) as api:
        data = await api.config_map(namespace, HEADS_CONFIG_MAP)
    try:
        return read_heads(data)
    except ValueError as error:
        raise Failed(f"ConfigMap {namespace}/{HEADS_CONFIG_MAP} holds no heads of the audit trail: {error}") from error
