"""Programs that come as Python wheels, pinned by hash: kubectl and nats-server in requirements.txt, and for the tests
redis-server in requirements-tests.txt."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tools.localcluster import build, paths, versions
from tools.localcluster.errors import ClusterError
from tools.localcluster.progress import step

REQUIREMENTS = paths.SOURCE / "requirements.txt"
TEST_REQUIREMENTS = paths.SOURCE / "requirements-tests.txt"
SYSTEM_KUBECTL = Path("/usr/bin/kubectl")
PROGRAMS = {"kubectl": REQUIREMENTS, "nats-server": REQUIREMENTS, "redis-server": TEST_REQUIREMENTS}
PYTHON = "3.11"
"""The wheel with redis-server is made for one Python, which need not be the one that runs."""


def output(requirements: Path = REQUIREMENTS) -> Path:
    return paths.binaries() / f"wheels-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]}"


def is_built(requirements: Path = REQUIREMENTS) -> bool:
    return output(requirements).is_dir()


def fetch(requirements: Path = REQUIREMENTS) -> bool:
    if is_built(requirements):
        return False
    paths.binaries().mkdir(parents=True, exist_ok=True)
    names = " and ".join(name for name, pinned_in in PROGRAMS.items() if pinned_in == requirements)
    with (
        step(f"fetching {names}"),
        tempfile.TemporaryDirectory(prefix=build.SCRATCH_PREFIX, dir=paths.binaries()) as folder,
    ):
        downloads, programs = Path(folder) / "downloads", Path(folder) / "programs"
        programs.mkdir()
        _download(names, requirements, downloads, Path(folder))
        for wheel in downloads.glob("*.whl"):
            _unpack(wheel, programs)
        programs.rename(output(requirements))
    return True


def fetch_for_tests() -> None:
    """There is no wheel with redis-server for another architecture; the tests that need it are skipped there."""
    if platform.machine() == "x86_64":
        fetch(TEST_REQUIREMENTS)


def _download(names: str, requirements: Path, into: Path, scratch: Path) -> None:
    command = [_python_with_pip(scratch), "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    result = subprocess.run(
        [*command, "--only-binary", ":all:", "--python-version", PYTHON, "-r", str(requirements), "-d", str(into)],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise ClusterError(
            f"{names} could not be fetched from the Python package index; check the network and pip's "
            f"settings, then run the same command again.\n{result.stderr.strip()[-1500:]}"
        )


def _python_with_pip(scratch: Path) -> str:
    """This interpreter when it has pip; environments made by other tools often do not."""
    for candidate in (sys.executable, shutil.which("python3")):
        if candidate and not subprocess.run([candidate, "-m", "pip", "--version"], capture_output=True).returncode:
            return candidate
    environment = scratch / "venv"
    if subprocess.run([sys.executable, "-m", "venv", str(environment)], capture_output=True).returncode:
        raise ClusterError("pip is missing; run: apt-get install python3-pip")
    return str(environment / "bin" / "python")


def _unpack(wheel: Path, into: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = Path(entry.filename).name
            if ".data/scripts/" in entry.filename and name in PROGRAMS:
                (into / name).write_bytes(archive.read(entry))
                (into / name).chmod(0o755)


def program(name: str) -> Path:
    """Where it is; it must have been fetched."""
    path = output(PROGRAMS[name]) / name
    if not path.exists():
        raise ClusterError(f"{name} is not there yet; run: python -m tools.localcluster build")
    return path


def kubectl(system: Path = SYSTEM_KUBECTL) -> Path:
    """The system's when it is new enough for our server, else the pinned one."""
    if system.exists() and _version(system) >= versions.KUBECTL_MINIMUM:
        return system
    return program("kubectl")


def _version(kubectl_binary: Path) -> tuple[int, int]:
    told = subprocess.run(
        [kubectl_binary, "version", "--client", "-o", "json"], capture_output=True, check=False
    ).stdout
    try:
        version = json.loads(told)["clientVersion"]["gitVersion"]
        major, minor = version.removeprefix("v").split(".")[:2]
        return int(major), int(minor)
    except (ValueError, KeyError):
        return (0, 0)
