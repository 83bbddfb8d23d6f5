"""python -m tools.demo up | install | images | down."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time

from tools.demo import administrator, images, strategies
from tools.demo.clusters import choose
from tools.demo.errors import DemoError
from tools.demo.install import identified, install, uninstall


def main(arguments: list[str]) -> int:
    """Runs one command; an expected failure becomes a sentence and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="cluster, CroweTrade, and three strategies that trade")
    commands.add_parser("install", help="cluster and CroweTrade only")
    commands.add_parser("images", help="build the images and load them into the cluster")
    commands.add_parser("down", help="remove all of it")
    command = parser.parse_args(arguments).command
    started = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - started:5.0f} s] {line}", flush=True)

    try:
        {"up": _up, "install": _install, "images": _images, "down": _down}[command](report)
    except DemoError as error:
        report(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        report("interrupted; run the same command again to go on, or 'python -m tools.demo down'")
        return 130
    return 0


def _install(report: strategies.Report) -> None:
    install(report=report)


def _up(report: strategies.Report) -> None:
    cluster = install(report=report).cluster
    strategies.start(cluster, report)
    print()
    print(strategies.table(cluster.kubectl()))
    binary, *options = cluster.kubectl().command
    kubectl = " ".join(["kubectl" if shutil.which("kubectl") else binary, *options])
    environment = dict(cluster.environment())
    if identified():
        environment["CROWETRADE_TLS_DIRECTORY"] = str(administrator.directory())
    for name, value in environment.items():
        print(f"export {name}={value}")
    print(f"{kubectl} get crowetrade -n {strategies.NAMESPACE}            # everything of ours")
    print(f"{kubectl} get strategies -n {strategies.NAMESPACE} -w         # watch it trade")
    print(f"{kubectl} describe strategy eurusd-ema -n {strategies.NAMESPACE}")
    patch = '{"spec":{"suspend":true}}'
    print(f"{kubectl} patch strategy eurusd-ema -n {strategies.NAMESPACE} --type=merge -p '{patch}'")
    user = json.loads(cluster.kubectl()("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"]
    for line in strategies.kill_hints(kubectl, user):
        print(line)
    print("make demo-cluster-down                      # remove all of it")


def _images(report: strategies.Report) -> None:
    cluster = choose()
    cluster.up()
    images.ensure(cluster, report)


def _down(report: strategies.Report) -> None:
    cluster = choose()
    report(f"cluster: {cluster.name}")
    try:
        strategies.stop(cluster, report)
        uninstall(cluster)
    except DemoError as error:
        report(f"not removed cleanly: {error}")
    cluster.down()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
