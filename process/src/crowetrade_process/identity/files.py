"""Source Files: tls.crt, tls.key and ca.crt of a kubernetes.io/tls Secret, as cert-manager writes it and renews it.

The kubelet replaces the files of a volume all at once, by a symlink to a directory; until then they fit together.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.source import Trust

CERTIFICATE_FILE, KEY_FILE, BUNDLE_FILE = "tls.crt", "tls.key", "ca.crt"
REVOCATIONS_FILE = "ca.crl"
"""Optional: revocation lists, PEM."""
MAX_BYTES = 1 << 20


class FilesSource:
    """Implements Source; somebody else renews the files."""

    renewal_share = 0.0
    poll_seconds = 10.0

    def __init__(self, directory: Path, trust_domain: str | None, now: Callable[[], datetime]) -> None:
        """Of any trust domain where it is None."""
        self._directory = directory
        self._trust_domain = trust_domain
        self._now = now
        self._last: tuple[tuple[bytes, bytes, bytes], Credentials] | None = None

    async def issue(self, trust: Trust) -> Credentials:
        """See Source."""
        directory = self._current()
        files = _read(directory / CERTIFICATE_FILE), _read(directory / KEY_FILE), trust.bundle_pem
        if self._last is not None and self._last[0] == files:
            return self._last[1]
        try:
            found = Credentials.read(*files, self._trust_domain, self._now())
        except IdentityUnavailable as error:
            raise IdentityUnavailable(f"{self._directory}: {error}") from error
        self._last = files, found
        return found

    async def trust(self) -> Trust:
        """See Source."""
        directory = self._current()
        revocations = directory / REVOCATIONS_FILE
        return Trust(_read(directory / BUNDLE_FILE), _read(revocations) if revocations.exists() else None)

    def _current(self) -> Path:
        """The directory that the kubelet's symlink leads to now, so that not the certificate of before is read with the
        key of after."""
        data = self._directory / "..data"
        return data.resolve() if data.exists() else self._directory


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise IdentityUnavailable(f"cannot read {path}: {error.strerror}; is the Secret mounted?") from error
    if len(content) > MAX_BYTES:
        raise IdentityUnavailable(f"{path} is larger than {MAX_BYTES} bytes: it is no PEM file of a certificate")
    return content
