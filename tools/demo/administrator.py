"""A certificate of the installation's administrator, from Vault: by it the command line, and the tests, get in."""

from __future__ import annotations

import json
from pathlib import Path

from tools.demo.clusters import Cluster
from tools.localcluster import paths, vault


def directory() -> Path:
    """Where the demo keeps the files; CROWETRADE_TLS_DIRECTORY of the command line."""
    return paths.cache() / "administrator"


def issue(cluster: Cluster, folder: Path) -> Path:
    """Writes tls.crt, tls.key and ca.crt of a new certificate; returns the folder."""
    arguments = ("write", "-format=json", f"{vault.PKI_PATH}/issue/{vault.ADMINISTRATOR_ROLE}")
    issued = json.loads(cluster.vault(*arguments, f"uri_sans={vault.ADMINISTRATOR}"))["data"]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in (
        ("tls.key", issued["private_key"]),
        ("tls.crt", issued["certificate"]),
        ("ca.crt", issued["issuing_ca"]),
    ):
        paths.write(folder / name, f"{content}\n", 0o600)
    return folder
