"""A NATS server with JetStream for one benchmark."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PID_FILE = "nats.pid"


@contextmanager
def nats_server(folder: Path, *, synced: bool = True, tls: Path | None = None) -> Iterator[str]:
    """Its address; the number of its process is in PID_FILE of the folder. `synced`: every write is synced before it
    is confirmed, as the chart's server does it. `tls`: the directory of its certificate; it takes mutual TLS alone
    then."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "nats.conf"
    sync = "sync_interval: always" if synced else ""
    text = f'pid_file: "{folder}/{PID_FILE}"\njetstream {{ store_dir: "{folder}/jetstream"\n {sync} }}\n'
    if tls is not None:
        text += (
            f'tls {{ cert_file: "{tls}/tls.crt", key_file: "{tls}/tls.key", ca_file: "{tls}/ca.crt", verify: true, '
            'min_version: "1.3", handshake_first: true }\n'
        )
    settings.write_text(text)
    binary = Path(sys.executable).parent / "nats-server"
    process = subprocess.Popen(
        [binary, "-c", settings, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        if not any("Server is ready" in line for line in process.stderr):
            raise RuntimeError("nats-server did not start")
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate()
