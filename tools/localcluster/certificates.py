"""The private authority of the cluster's Vault, made with openssl: no library for it is in Python itself.

One authority signs Vault's own certificate and, imported into Vault's PKI engine, the identities that it hands out. It
outlives Vault's process, which forgets everything: who trusted it before still does.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.localcluster.errors import ClusterError

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650")


def make(names: Sequence[str]) -> dict[str, str]:
    """PEM by file name: `ca.crt`, `ca.key`, and `tls.crt` and `tls.key` of a server with these DNS names."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _certificate(folder, "ca", "crowetrade local authority", *authority)
        signed = ("-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"))
        alternative = "subjectAltName=" + ",".join(f"DNS:{item}" for item in names)
        _certificate(
            folder, "tls", names[0], *signed, "-addext", alternative, "-addext", "basicConstraints=critical,CA:FALSE"
        )
        return {file.name: file.read_text() for file in sorted(folder.iterdir())}


def _certificate(folder: Path, name: str, common_name: str, *arguments: str) -> None:
    files = ("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt"))
    command = ["openssl", "req", "-x509", *_KEY, *files, "-subj", f"/CN={common_name}", *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ClusterError("openssl is missing; install the package openssl and run the same command again.") from None
    if done.returncode:
        raise ClusterError(
            f"openssl made no certificate (version 3 or newer is needed):\n{done.stderr.strip()[-1000:]}"
        )
