"""A real Redis, whose users Vault's database engine makes, renews and takes away."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crowetrade_operator_tests.servers import Process, free_port, program
from crowetrade_operator_tests.vault_server import DATABASE_PLUGIN, Vault
from tests.vault.servers import WAIT_SECONDS

PASSWORD = "root"
MOUNT = "database"


class Redis:
    """A server whose default user has a password."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: Process | None = None

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        command: list[str | Path] = [
            program("redis-server"),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]
        self._process = Process("redis-server", [*command, "--requirepass", PASSWORD], self._folder)
        deadline = time.monotonic() + WAIT_SECONDS
        while not self.lets_in("default", PASSWORD):
            self._process.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"Redis did not answer:\n{self._process.tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def lets_in(self, user: str, password: str) -> bool:
        """Whether these credentials hold: the Redis command AUTH."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(f"AUTH {user} {password}\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False


@dataclass(frozen=True)
class DatabaseRole:
    """A role of the database engine, each read of which makes a user with a lease."""

    vault: Vault
    name: str
    lease_seconds: int
    maximum_seconds: int

    @property
    def path(self) -> str:
        """Read by a venue's role."""
        return f"{MOUNT}/creds/{self.name}"

    def write(self) -> None:
        """Makes it, or makes it again."""
        self.vault.run(
            "write",
            f"{MOUNT}/roles/{self.name}",
            "db_name=redis",
            'creation_statements=["+@read"]',
            f"default_ttl={self.lease_seconds}s",
            f"max_ttl={self.maximum_seconds}s",
        )

    def delete(self) -> None:
        """Nobody gets credentials any more."""
        self.vault.run("delete", f"{MOUNT}/roles/{self.name}")

    def revoke(self) -> None:
        """Revokes every lease of it, as after an incident."""
        self.vault.run("lease", "revoke", "-prefix", self.path)

    def leases(self) -> list[dict[str, Any]]:
        """Those that hold."""
        found = self.vault.run("list", "-format=json", f"sys/leases/lookup/{self.path}/", missing="[]")
        return [
            json.loads(self.vault.run("write", "-format=json", "sys/leases/lookup", f"lease_id={self.path}/{lease}"))[
                "data"
            ]
            for lease in json.loads(found)
        ]


def enable(vault: Vault, redis: Redis) -> None:
    """The database engine, for this Redis."""
    vault.run("secrets", "enable", f"-path={MOUNT}", "database")
    vault.run(
        "write",
        f"{MOUNT}/config/redis",
        f"plugin_name={DATABASE_PLUGIN}",
        "host=127.0.0.1",
        f"port={redis.port}",
        "username=default",
        f"password={PASSWORD}",
        "allowed_roles=*",
    )
