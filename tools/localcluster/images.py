"""Builds images without a registry, under their ordinary names, and hands them to the node's containerd.

Every image of ours also carries a tag that names what it was made from: that tag is how a later run knows that
nothing is to be done. buildah runs in a mount namespace of its own, so no mount of its storage outlives a command.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.localcluster import build, node, paths, versions, wheels
from tools.localcluster.errors import ClusterError
from tools.localcluster.progress import step

ROOT_PACKAGES = "python3,python3-venv,ca-certificates,catatonit"
ROOT_LEAVES_OUT = ("locale", "man", "info", "doc")
"""Below /usr/share: a fifth of the size, and nothing that a program reads."""
HOST_FOLDERS = (Path("/var/lib/containers"), Path("/run/containers"))
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_MARKER = f"localhost/{versions.NAME}/cached"
_PIP_SETTINGS = ("INDEX_URL", "EXTRA_INDEX_URL", "TRUSTED_HOST", "DEFAULT_TIMEOUT", "RETRIES")

_BASE = """FROM scratch
ADD rootfs.tar /
RUN ln -s /usr/bin/python3 /usr/local/bin/python3 && ln -s /usr/bin/python3 /usr/local/bin/python
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
CMD ["python3"]
"""
_PAUSE = """FROM scratch
COPY catatonit /pause
ENTRYPOINT ["/pause", "-P"]
"""
_COREDNS = """FROM scratch
COPY coredns /coredns
EXPOSE 53 53/udp
ENTRYPOINT ["/coredns"]
"""
_VAULT = f"""FROM {versions.BASE_IMAGE}
COPY vault /bin/vault
COPY vault-plugin-auth-kubernetes /vault/plugins/vault-plugin-auth-kubernetes
USER 100:1000
EXPOSE 8200
ENTRYPOINT ["/bin/vault"]
CMD ["server", "-dev"]
"""
_NATS = """FROM scratch
COPY nats-server /nats-server
COPY nats-server.conf /nats-server.conf
EXPOSE 4222 8222 6222
ENTRYPOINT ["/nats-server"]
CMD ["--config", "/nats-server.conf"]
"""
_NATS_SETTINGS = "port: 4222\nmonitor_port: 8222\n"


@dataclass(frozen=True)
class Image:
    """`files` are built only when the image is: each writes one file into the build folder."""

    name: str
    containerfile: str
    inputs: str
    files: Mapping[str, Callable[[Path], object]]

    @property
    def marker(self) -> str:
        digest = hashlib.sha256(f"{self.name}\0{self.containerfile}\0{self.inputs}".encode()).hexdigest()[:16]
        return f"{_MARKER}:{digest}"


def _copy(source: Callable[[], Path]) -> Callable[[Path], object]:
    return lambda target: shutil.copy(source(), target)


def root_archive() -> Path:
    digest = hashlib.sha256(f"{versions.DEBIAN} {ROOT_PACKAGES} {ROOT_LEAVES_OUT}".encode()).hexdigest()[:12]
    return paths.images() / f"rootfs-{versions.DEBIAN}-{digest}.tar"


def _catatonit(target: Path) -> None:
    with tarfile.open(root_archive()) as archive:
        member = archive.extractfile("./usr/bin/catatonit")
        assert member is not None
        target.write_bytes(member.read())
    target.chmod(0o755)


def base() -> Image:
    return Image(
        versions.BASE_IMAGE, _BASE, root_archive().name, {"rootfs.tar": lambda to: os.link(root_archive(), to)}
    )


def pause() -> Image:
    return Image(versions.PAUSE_IMAGE, _PAUSE, root_archive().name, {"catatonit": _catatonit})


def nats() -> Image:
    files = {
        "nats-server": _copy(lambda: wheels.program("nats-server")),
        "nats-server.conf": lambda to: to.write_text(_NATS_SETTINGS),
    }
    return Image(versions.NATS_IMAGE, _NATS, wheels.output().name + _NATS_SETTINGS, files)


def coredns() -> Image:
    group = build.by_program("coredns")
    files = {"coredns": _copy(lambda: build.binary("coredns"))}
    return Image(versions.COREDNS_IMAGE, _COREDNS, build.key(group), files)


def vault() -> Image:
    names = ("vault", "vault-plugin-auth-kubernetes")
    inputs = " ".join([base().marker, *(build.key(build.by_program(name)) for name in names)])
    files = {name: _copy(lambda name=name: build.binary(name)) for name in names}  # type: ignore[misc]
    return Image(versions.VAULT_IMAGE, _VAULT, inputs, files)


def all_images() -> list[Image]:
    return [pause(), base(), nats(), coredns(), vault()]


def buildah(*arguments: str | Path, quiet: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _buildah(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else sys.stderr,
        stderr=subprocess.PIPE if quiet else sys.stderr,
        env=_buildah_environment(),
        text=True,
        check=False,
    )


def _buildah(*arguments: str | Path) -> list[str]:
    own = paths.images()
    storage = ["--storage-driver", "overlay", "--root", str(own / "storage"), "--runroot", str(own / "run")]
    apart = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec", _hide_host_folders(), "sh"]
    return [*apart, "buildah", *storage, *map(str, arguments)]


def _buildah_environment() -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(_scratch())}


def _hide_host_folders() -> str:
    """buildah writes small files to folders that no option moves; in its mount namespace these are ours."""
    lines = []
    for folder in HOST_FOLDERS:
        own = paths.images() / "host" / folder.relative_to("/")
        own.mkdir(parents=True, exist_ok=True)
        lines.append(f"mkdir -p {folder}; mount --bind {shlex.quote(str(own))} {folder}")
    return "\n".join([*lines, 'exec "$@"'])


def remove_host_folders() -> None:
    """They are only mount points: empty, unless somebody else uses them."""
    for folder in HOST_FOLDERS:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _scratch() -> Path:
    path = paths.images() / "tmp"
    path.mkdir(parents=True, exist_ok=True)
    return path


def remove_scratch(older_than: float = 86400.0) -> None:
    """What interrupted commands left; young folders may belong to a command that runs."""
    for path in _scratch().iterdir():
        if path.is_dir() and path.stat().st_mtime < time.time() - older_than:
            shutil.rmtree(path)


def _checked(result: subprocess.CompletedProcess[str], advice: str) -> str:
    if result.returncode:
        raise ClusterError(f"{advice}\n{(result.stderr or '').strip()[-2000:]}")
    return result.stdout or ""


def image_id(name: str) -> str | None:
    result = buildah("inspect", "--type", "image", "--format", "{{.FromImageID}}", name)
    return result.stdout.strip() if result.returncode == 0 else None


def build_root_archive() -> None:
    """Debian's smallest system that can run our Python, from the mirror that mmdebstrap knows by itself."""
    archive = root_archive()
    if archive.exists():
        return
    temporary = _scratch() / f"{archive.name}.{os.getpid()}.tar"
    log = _scratch() / "mmdebstrap.log"
    left_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ROOT_LEAVES_OUT]
    left_out.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    command = [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={ROOT_PACKAGES}",
        *left_out,
        versions.DEBIAN,
        str(temporary),
    ]
    with step(f"making the {versions.DEBIAN} root file system", lambda: _last_line(log)), log.open("w") as out:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False)
    if result.returncode:
        temporary.unlink(missing_ok=True)
        said = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
        raise ClusterError(f"mmdebstrap failed; check that apt-get update works, then run this again.\n{said}")
    temporary.rename(archive)
    for older in archive.parent.glob("rootfs-*.tar"):
        if older != archive:
            older.unlink()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else ""


def ensure(image: Image) -> bool:
    """Builds the image unless its marker says that it was; True when it was built."""
    known = image_id(image.marker)
    if known is not None and image_id(image.name) == known:
        return False
    if known is not None:
        _checked(buildah("tag", image.marker, image.name), f"{image.name} could not be tagged.")
        return False
    with step(f"building the image {image.name}"), tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        for name, make in image.files.items():
            make(Path(folder) / name)
        (Path(folder) / "Containerfile").write_text(image.containerfile)
        arguments = ["bud", "--isolation", "chroot", "--pull-never", "-t", image.name, "-t", image.marker, folder]
        _checked(buildah(*arguments), f"The image {image.name} could not be built; run the same command again.")
    return True


def remove_outdated() -> None:
    """Images that no pin leads to any more; their layers go with them."""
    wanted = {image.marker for image in all_images()}
    names = buildah("images", "--format", "{{.Name}}:{{.Tag}}").stdout.split()
    outdated = [name for name in names if name.startswith(_MARKER) and name not in wanted]
    if outdated:
        buildah("rmi", "--force", *outdated)


def build_from(containerfile: Path, name: str, context: Path) -> None:
    """A user's image: the host's certificates and pip settings are lent to the build and stay out of the image."""
    if image_id(versions.BASE_IMAGE) is None:
        raise ClusterError("The base image is missing; run: python -m tools.localcluster build --only images")
    lent = [f"--volume={CA_BUNDLE}:{CA_BUNDLE}:ro"] if CA_BUNDLE.exists() else []
    with step(f"building the image {name}"), tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        if settings := _pip_settings():
            (Path(folder) / "pip.conf").write_text(settings)
            lent.append(f"--volume={folder}/pip.conf:/etc/pip.conf:ro")
        # The base is the one that was made here: a digest in the Dockerfile is of the one in the registry.
        base = f"--build-arg=PYTHON_IMAGE={versions.BASE_IMAGE}"
        arguments = [
            "bud",
            "--isolation",
            "chroot",
            "--layers",
            base,
            *lent,
            "-f",
            str(containerfile.resolve()),
            "-t",
            name,
        ]
        _checked(buildah(*arguments, str(context.resolve()), quiet=False), f"The image {name} could not be built.")


def _pip_settings(environment: Mapping[str, str] = os.environ) -> str:
    lines = [
        f"{setting.lower().replace('_', '-').replace('default-', '')} = {environment[f'PIP_{setting}']}"
        for setting in _PIP_SETTINGS
        if environment.get(f"PIP_{setting}")
    ]
    return "\n".join(["[global]", *lines, ""]) if lines else ""


def load(name: str) -> bool:
    """Imports the image into containerd unless this very image is there; True when it was imported."""
    name = full_name(name)
    identity = image_id(name)
    if identity is None:
        raise ClusterError(
            f"There is no image {name}; build it with: "
            f"python -m tools.localcluster image-build -f DOCKERFILE -t {name} CONTEXT"
        )
    record = paths.state() / "loaded" / hashlib.sha256(name.encode()).hexdigest()[:16]
    there = set(present())
    if name in there and record.exists() and _record(record)[0] == identity:
        return False
    same = next((known for known in loaded(identity) if known in there), None)
    with step(f"loading {name}"):
        if same is not None:
            node.ctr("images", "tag", "--force", same, name)
        else:
            _transfer(name)
    paths.write(record, f"{identity}\n{name}")
    return True


def loaded(identity: str) -> list[str]:
    """The names under which an image was brought to the node."""
    records = map(_record, sorted((paths.state() / "loaded").glob("*")))
    return [name for known, name in records if known == identity]


def _record(path: Path) -> tuple[str, str]:
    identity, _, name = path.read_text().partition("\n")
    return identity, name


def _transfer(name: str) -> None:
    """containerd reads what buildah writes while it does: on two cores that takes half the time of one after the
    other."""
    command = _buildah("push", name, f"docker-archive:/dev/stdout:{name}")
    with (
        tempfile.TemporaryFile(mode="w+", dir=_scratch()) as said,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=_buildah_environment()
        ) as push,
    ):
        taken = subprocess.run(
            node.ctr_command("images", "import", "-"), stdin=push.stdout, capture_output=True, text=True, check=False
        )
        assert push.stdout is not None
        push.stdout.close()
        if push.wait() or taken.returncode:
            said.seek(0)
            raise ClusterError(
                f"{name} could not be brought to the node. buildah (status {push.returncode}) and ctr (status "
                f"{taken.returncode}) said:\n{said.read().strip()[-1000:]}\n{taken.stderr.strip()[-1000:]}"
            )


def present() -> Sequence[str]:
    return node.ctr("images", "ls", "-q").split()


def full_name(name: str) -> str:
    """As containerd spells it: `nats:2` is docker.io/library/nats:2."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
