"""Processes of the agents as they run in pods, each with an identity from files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from urllib.error import HTTPError
from urllib.request import urlopen

from crowetrade_api.files import EnvName
from crowetrade_operator_tests.servers import free_port
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process_tests.identity.identities import ADMINISTRATOR, OPERATOR_NAMESPACE

SECONDS = 60.0


class Pod:
    """One process."""

    def __init__(self, folder: Path, environment: dict[str, str], process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.environment = environment
        self.process = process
        self.control_port = int(environment[EnvName.CONTROL_PORT])

    def until_it_listens(self) -> None:
        """Waits for the control service."""

        def listens() -> bool:
            try:
                with socket.create_connection(("127.0.0.1", self.control_port), 1):
                    return True
            except OSError:
                return False

        self._until(listens)

    def readiness(self) -> str:
        """What /readyz says, once it answers."""
        return self.until_readiness(lambda said: True)

    def until_readiness(self, wanted: Callable[[str], bool]) -> str:
        """Waits until what /readyz says is as wanted, and returns it."""
        said = ""

        def is_wanted() -> bool:
            nonlocal said
            try:
                with urlopen(f"http://127.0.0.1:{self.environment[EnvName.HTTP_PORT]}/readyz", timeout=5) as answer:
                    said = str(answer.read().decode())
            except HTTPError as error:
                said = error.read().decode()
            except OSError:
                return False
            return wanted(said)

        self._until(is_wanted)
        return said

    def _until(self, check: Callable[[], bool]) -> None:
        """Asks again and again until it holds; at the latest when the process has ended."""
        deadline = time.monotonic() + SECONDS
        while not check():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)


@contextmanager
def pod_in(
    folder: Path, command: Sequence[str], configuration: Path, extra: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Pod]:
    """Runs until the end of the block; its identity is in `folder/identity`."""
    environment: dict[str, str] = {
        EnvName.CONFIG_FILE: str(configuration),
        EnvName.DATA_DIRECTORY: str(folder),
        EnvName.HTTP_PORT: str(free_port()),
        EnvName.GRPC_PORT: "0",
        EnvName.CONTROL_PORT: str(free_port()),
        EnvName.NATS_URL: "nats://127.0.0.1:1",
        IdentityVariable.SOURCE: "Files",
        IdentityVariable.DIRECTORY: str(folder / "identity"),
        IdentityVariable.OPERATOR_NAMESPACE: OPERATOR_NAMESPACE,
        IdentityVariable.ADMINISTRATORS: ADMINISTRATOR.uri,
        **extra,
    }
    # The command line, once imported, silences gRPC for this process and its children; nothing does in a container.
    inherited = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "crowetrade_agents.runtime", *command],
            env={**inherited, **environment},
            stdout=log,
            stderr=log,
        )
        try:
            yield Pod(folder, environment, process)
        finally:
            process.terminate()
            process.wait(SECONDS)
