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
from crowetrade_process.audit.chain import End
from crowetrade_process.audit.checkpoints import Authorities
from crowetrade_process.audit.verification import KEPT_CONFIG_MAPS, Findings, Verification, parse_ends, read_ends

DAY_SECONDS = 86_400
DEFAULT_DAYS = subjects.AUDIT_RETENTION_SECONDS // DAY_SECONDS


def verify(
    file: File = None,
    nats: Nats = DEFAULT_NATS,
    ca: Annotated[
        Path | None,
        typer.Option(help="Certificates (PEM) of the authorities of all identities, old ones too."),
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(help="Ends of chains that were kept: the operator's ConfigMaps crowetrade-audit* as JSON."),
    ] = None,
    operator_namespace: Annotated[
        str, typer.Option(help="Namespace of the operator, to read its ConfigMaps crowetrade-audit* there.")
    ] = "",
    retention_days: Annotated[
        int, typer.Option(min=1, help="How long records are kept: older ones may be missing at the beginning.")
    ] = DEFAULT_DAYS,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
) -> None:
    """Verify every writer's chain: that no record was changed, deleted or moved, and who vouches for it.

    That the end was cut off, or a chain deleted, is found with --operator-namespace or --kept alone; that all was
    written again, with --ca or these. Exit code 0: whole. 1: broken, or it cannot be read; the message names the writer
    and the record.
    """
    if kept is not None and operator_namespace:
        raise WrongUse("name either --kept or --operator-namespace")
    authorities = _authorities(ca) if ca is not None else None
    asyncio.run(_verify(file, nats, authorities, kept, operator_namespace, retention_days, kubeconfig, context))


async def _verify(
    file: Path | None,
    nats: str,
    authorities: Authorities | None,
    kept: Path | None,
    operator_namespace: str,
    retention_days: int,
    kubeconfig: str,
    context: str,
) -> None:
    # Before the records: they are then at least as new.
    on_record: Mapping[str, End] | None = None
    if kept is not None:
        on_record = _kept_in_file(kept)
    elif operator_namespace:
        on_record = await _kept_in_cluster(operator_namespace, kubeconfig, context)
    verification = Verification(time.time_ns(), retention_days * DAY_SECONDS, authorities, on_record)
    async with open_source(file, nats) as source:
        async for subject, payload in source.records():
            verification.follow(subject, payload)
    found = verification.finish()
    for one in found:
        if not one.problem:
            typer.echo(_summary(one, authorities is not None))
    if on_record is None:
        typer.echo("note: without --operator-namespace or --kept an end that was cut off is not found", err=True)
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
        # The record after it is the checkpoint itself.
        if found.ends_with > found.vouched_to + 1:
            text += f", {found.vouched_to + 2} to {found.ends_with} not vouched for"
        if found.unsigned_to:
            text += f"; up to {found.unsigned_to} not signed when they were written: without an identity, or by others"
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


def _kept_in_file(file: Path) -> dict[str, End]:
    try:
        return parse_ends(file.read_text())
    except (OSError, ValueError) as error:
        raise WrongUse(
            f"--kept {file} cannot be read ({error}): write there what kubectl get configmap "
            f"{' '.join(KEPT_CONFIG_MAPS)} -o json says"
        ) from error


async def _kept_in_cluster(namespace: str, kubeconfig: str, context: str) -> dict[str, End]:
    async with connect(find(kubeconfig, context)) as api:
        kept = {name: await api.config_map(namespace, name) for name in KEPT_CONFIG_MAPS}
    ends: dict[str, End] = {}
    for name, data in kept.items():
        try:
            ends |= read_ends(data)
        except ValueError as error:
            raise Failed(f"ConfigMap {namespace}/{name} holds something else than ends of chains: {error}") from error
    return ends
