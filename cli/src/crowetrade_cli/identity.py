"""The certificate that the command line shows to the bus and to gateways: an administrator's, from a directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crowetrade_cli.errors import Failed

if TYPE_CHECKING:
    from crowetrade_process.identity.holder import Identity

VARIABLE = "CROWETRADE_TLS_DIRECTORY"
SERVER_NAME_VARIABLE = "CROWETRADE_NATS_SERVER_NAME"


class TlsFiles:
    """Where the files are; empty: connections are plain TCP."""

    def __init__(self) -> None:
        self.directory = ""
        self.nats_server_name = ""

    async def identity(self) -> Identity | None:
        """What the files hold now. Raises Failed."""
        if not self.directory:
            return None
        # Not with this module, which every command imports: with cryptography they are most of the start of those that
        # connect to nothing, and of each TAB.
        from crowetrade_process.identity.errors import IdentityUnavailable
        from crowetrade_process.identity.files import FilesSource
        from crowetrade_process.identity.holder import Identity, utc_now

        source = FilesSource(Path(self.directory), None, utc_now)
        try:
            return await Identity.once(source, nats_server_name=self.nats_server_name)
        except IdentityUnavailable as error:
            raise Failed(f"--tls-directory: {error}") from error


TLS_FILES = TlsFiles()
"""Set by the options that come before the command."""
