"""Builds all programs and images: compiling and image making side by side, what `up` needs first comes first."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tools.localcluster import build, host, images, paths, wheels
from tools.localcluster.lock import exclusive
from tools.localcluster.progress import say


def prepare(*, binaries: bool = True, container_images: bool = True, for_tests: bool = False) -> None:
    """Safe to interrupt and to run twice at once; what is there already is not made again. Programs that no cluster
    needs are built `for_tests` alone."""
    groups = [group for group in build.GROUPS if for_tests or not group.tests_only]
    host.require_root()
    host.ensure_packages()
    with exclusive(paths.cache() / "build.lock", "build"):
        if not all(map(build.is_built, groups)):
            say("compiling what is missing; on a machine with 2 cores all of it takes about 20 minutes, once")
        build.remove_scratch()
        images.remove_scratch()
        wheels.fetch()
        if for_tests:
            wheels.fetch_for_tests()
        with ThreadPoolExecutor(max_workers=2) as pool:
            compiled = pool.submit(_compile, groups, binaries)
            built = pool.submit(_images, compiled) if container_images else None
            _result(compiled, built)


def _compile(groups: Sequence[build.Group], everything: bool) -> None:
    for group in groups:
        if everything or group.programs[0] in ("coredns", "vault", "vault-plugin-auth-kubernetes"):
            build.build(group)


def _images(compiled: Future[None]) -> None:
    images.build_root_archive()
    for image in (images.pause(), images.base(), images.nats()):
        images.ensure(image)
    compiled.result()
    for image in (images.coredns(), images.vault()):
        images.ensure(image)
    images.remove_outdated()


def _result(*futures: Future[None] | None) -> None:
    for future in futures:
        if future is not None:
            future.result()
