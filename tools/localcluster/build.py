"""Builds the Go programs, once per version, into the cache.

A group is a folder below go/ with a go.mod and a go.sum, because `go install pkg@version` refuses modules with replace
lines; and with a main.go where no module in the proxy has the program.
The key of its output is made of all that decides it, so that a changed pin never finds an old program.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tools.localcluster import host, paths, versions
from tools.localcluster.errors import ClusterError
from tools.localcluster.progress import say, step

_VERSION = "k8s.io/component-base/version"
_KUBERNETES_FLAGS = (
    f"-X {_VERSION}.gitVersion={versions.KUBERNETES}",
    f"-X {_VERSION}.gitMajor={versions.KUBERNETES[1:].split('.')[0]}",
    f"-X {_VERSION}.gitMinor={versions.KUBERNETES[1:].split('.')[1]}",
    f"-X {_VERSION}.gitTreeState=clean",
    f"-X {_VERSION}.gitCommit={'0' * 40}",
    f"-X {_VERSION}.buildDate=2026-01-01T00:00:00Z",
)


SCRATCH_PREFIX = ".build-"


@dataclass(frozen=True)
class Group:
    name: str
    version: str
    programs: tuple[str, ...]
    link_flags: tuple[str, ...] = ()
    build_flags: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    module_files: tuple[tuple[str, str, str], ...] = field(default=())
    """Files taken out of a module's source: (module, path inside, name in the cache)."""
    tests_only: bool = field(default=False, repr=False)
    """No cluster needs it."""


GROUPS = (
    Group(
        "kubernetes",
        versions.KUBERNETES,
        ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubeadm"),
        link_flags=_KUBERNETES_FLAGS,
    ),
    Group("etcd", versions.ETCD, ("etcd",), rename=(("server", "etcd"),)),
    Group(
        "calico",
        versions.CALICO,
        ("calico-felix", "calico"),
        module_files=((versions.CALICO_MODULE, "manifests/crds.yaml", "crds.yaml"),),
    ),
    Group("coredns", versions.COREDNS, ("coredns",)),
    Group(
        "helm", versions.HELM, ("helm",), link_flags=(f"-X helm.sh/helm/v3/internal/version.version={versions.HELM}",)
    ),
    Group("vault", versions.VAULT, ("vault",), build_flags=("-tags", "minimal")),
    Group("vault-kubernetes-auth", versions.VAULT_KUBERNETES_AUTH, ("vault-plugin-auth-kubernetes",)),
    Group("vault-redis", versions.VAULT_REDIS, ("vault-plugin-database-redis",), tests_only=True),
    Group("vault-injector", versions.VAULT_INJECTOR, ("vault-k8s",), tests_only=True),
    Group(
        "cert-manager",
        versions.CERT_MANAGER,
        ("cert-manager",),
        module_files=tuple(
            ("github.com/cert-manager/cert-manager", f"deploy/crds/cert-manager.io_{plural}.yaml", f"{plural}.yaml")
            for plural in versions.CERT_MANAGER_KINDS
        ),
        tests_only=True,
    ),
    # Without the service discoveries of clouds, whose libraries take four times as long to compile as the rest.
    Group("prometheus", versions.PROMETHEUS, ("promtool",), build_flags=("-tags", "remove_all_sd"), tests_only=True),
    Group("kube-score", versions.KUBE_SCORE, ("kube-score",), tests_only=True),
    Group("kubeconform", versions.KUBECONFORM, ("kubeconform",), tests_only=True),
)
"""In the order in which `up` needs them."""


def source(group: Group) -> Path:
    return paths.SOURCE / "go" / group.name


def key(group: Group) -> str:
    """Version for people, digest for certainty."""
    parts = [repr(group), platform.machine()]
    parts += [path.read_text() for path in sorted(source(group).iterdir())]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return f"{group.name}-{group.version}-{digest}"


def output(group: Group) -> Path:
    return paths.binaries() / key(group)


def is_built(group: Group) -> bool:
    """The folder appears by one rename, with everything in it."""
    return output(group).is_dir()


def by_program(program: str) -> Group:
    return next(group for group in GROUPS if program in group.programs)


def binary(program: str) -> Path:
    """Where the program is; it must have been built."""
    path = output(by_program(program)) / program
    if not path.exists():
        raise ClusterError(f"{program} is not built yet; run: python -m tools.localcluster build")
    return path


def module_file(group_name: str, name: str) -> Path:
    return output(next(group for group in GROUPS if group.name == group_name)) / name


def build(group: Group) -> bool:
    """Builds what the cache lacks; True when it had to."""
    if is_built(group):
        return False
    go = host.go_compiler()
    paths.binaries().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=paths.binaries()) as scratch:
        folder = Path(scratch) / "programs"
        compiled: list[str] = []
        title = f"compiling {group.name} {group.version[:20]}"
        with step(title, lambda: f"{len(compiled)} packages, last {compiled[-1]}" if compiled else "fetching modules"):
            _compile(go, group, folder, compiled)
        for old, new in group.rename:
            (folder / old).rename(folder / new)
        for module, inside, name in group.module_files:
            shutil.copyfile(_module_folder(go, group, module) / inside, folder / name)
        absent = [program for program in group.programs if not (folder / program).exists()]
        if absent:
            raise ClusterError(
                f"The build of {group.name} made no {', '.join(absent)}; see the tool lines of its go.mod."
            )
        folder.rename(output(group))
    _remove_older(group)
    return True


def remove_scratch() -> None:
    """What an interrupted build left; the caller holds the build lock. Go's own cache lets the next one go on."""
    for folder in paths.binaries().glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(folder)


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}


def _compile(go: str, group: Group, folder: Path, compiled: list[str]) -> None:
    link = " ".join(("-s", "-w", *group.link_flags))
    command = ["nice", "-n", "5", go, "build", "-v", "-trimpath", "-ldflags", link, *group.build_flags]
    process = subprocess.Popen(
        [*command, "-o", f"{folder}/", "tool"],
        cwd=source(group),
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        compiled.extend(line.strip() for line in process.stderr)
    finally:
        process.terminate()
        process.wait()
    if process.returncode:
        said = "\n".join(compiled[-12:])
        raise ClusterError(
            f"Compiling {group.name} failed; what is finished is kept, so run the same command again. "
            f"The compiler said:\n{said}"
        )


def _module_folder(go: str, group: Group, module: str) -> Path:
    told = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", module],
        cwd=source(group),
        env=_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(told.stdout.strip())


def _remove_older(group: Group) -> None:
    """Programs of other versions: nothing finds them any more."""
    prefix = f"{group.name}-v"
    for folder in paths.binaries().iterdir():
        if folder.name.startswith(prefix) and folder != output(group):
            shutil.rmtree(folder)
            say(f"removed {folder.name}, which no pin names any more")
