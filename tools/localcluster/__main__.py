"""Command line: `python -m tools.localcluster up|down|status|build|load|image-build|kubeconfig|path|vault`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tools.localcluster import build, cluster, host, images, paths, preparation, vault, wheels
from tools.localcluster.errors import ClusterError
from tools.localcluster.lock import exclusive
from tools.localcluster.progress import say


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.localcluster", description="A local Kubernetes cluster.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the cluster, or mend it; builds what is missing")
    commands.add_parser("down", help="stop it and remove everything but the cache")
    commands.add_parser("status", help="say what runs; status 0 when all is well")
    making = commands.add_parser("build", help="build all programs and images into the cache")
    making.add_argument("--only", choices=("binaries", "images"))
    loading = commands.add_parser("load", help="bring a built image to the node")
    loading.add_argument("image")
    image = commands.add_parser("image-build", help="build an image from a Dockerfile")
    image.add_argument("-f", "--file", type=Path, required=True, metavar="DOCKERFILE")
    image.add_argument("-t", "--tag", required=True, metavar="NAME")
    image.add_argument("context", type=Path)
    commands.add_parser("kubeconfig", help="print the path of the administrator's kubeconfig")
    where = commands.add_parser("path", help="print the path of a built program")
    where.add_argument("program", choices=sorted(_programs()))
    inside = commands.add_parser("vault", help="run Vault's command line in its pod", add_help=False)
    inside.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _programs() -> set[str]:
    return {program for group in build.GROUPS for program in group.programs} | set(wheels.PROGRAMS)


def _path(program: str) -> Path:
    if program == "kubectl":
        return wheels.kubectl()
    return wheels.program(program) if program in wheels.PROGRAMS else build.binary(program)


def _load(name: str) -> None:
    _require_cluster()
    with exclusive(paths.lock(), f"load {name}"):
        say(f"{name} is on the node" if images.load(name) else f"{name} was on the node already")


def _require_cluster() -> None:
    if not paths.admin_kubeconfig().exists():
        raise ClusterError("The cluster is not running; start it with: python -m tools.localcluster up")


def _image_build(containerfile: Path, name: str, context: Path) -> None:
    host.require_root()
    if not containerfile.is_file() or not context.is_dir():
        raise ClusterError(f"{containerfile} must be a file and {context} a folder; check the two paths.")
    images.build_from(containerfile, images.full_name(name), context)


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "up":
            cluster.up()
        case "down":
            cluster.down()
        case "status":
            return cluster.status()
        case "build":
            preparation.prepare(
                binaries=options.only != "images", container_images=options.only != "binaries", for_tests=True
            )
        case "load":
            host.require_root()
            _load(options.image)
        case "image-build":
            _image_build(options.file, options.tag, options.context)
        case "kubeconfig":
            _require_cluster()
            print(paths.admin_kubeconfig())
        case "path":
            print(_path(options.program))
        case "vault":
            _require_cluster()
            return vault.run(options.arguments)
    return 0


def main(arguments: list[str]) -> int:
    # argparse would take `vault -version` for an option of ours.
    vault_arguments = arguments[1:] if arguments[:1] == ["vault"] else None
    options = _parser().parse_args(arguments if vault_arguments is None else ["vault"])
    if vault_arguments is not None:
        options.arguments = vault_arguments
    try:
        return _run(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
