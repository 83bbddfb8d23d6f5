"""`python -m crowetrade_agents.runtime gateway` and `... strategy --roles feature,signal,portfolio,execution`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvloop

from crowetrade_agents.errors import AgentError, ConfigurationError
from crowetrade_agents.runtime.config import (
    ALL_ROLES,
    EXIT_CONFIGURATION,
    TERMINATION_LOG,
    load_strategy,
    parse_roles,
    read_pod,
)
from crowetrade_agents.runtime.logs import configure_logging

_log = structlog.get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one process and returns its exit code: 0 asked to stop, 1 failed, 78 wrongly configured."""
    options = _parser().parse_args(arguments)
    configure_logging()
    try:
        if options.command == "gateway":
            return _gateway()
        _strategy(options.roles)
    except ConfigurationError as error:
        _log.error("configuration_error", error=str(error))
        _write_termination_log(str(error))
        return EXIT_CONFIGURATION
    except AgentError as error:
        _log.error("stopped", error=str(error))
        _write_termination_log(str(error))
        return 1
    return 0


def _gateway() -> int:
    # Imported here, so that a strategy process never loads a venue adapter.
    from crowetrade_agents.runtime.gateway import run_gateway

    return uvloop.run(run_gateway())


def _strategy(roles_text: str) -> None:
    from crowetrade_agents.runtime.strategy import run_strategy

    roles = parse_roles(roles_text)
    pod = read_pod(os.environ)
    config = load_strategy(pod.config_path)
    configure_logging(strategy=config.name, roles=",".join(roles))
    uvloop.run(run_strategy(config, roles, pod, _write_termination_log))


def _write_termination_log(sentence: str) -> None:
    """The kubelet shows it in the pod's status; outside a pod there is no such file."""
    with contextlib.suppress(OSError):
        path = Path(os.environ.get("CROWETRADE_TERMINATION_LOG", TERMINATION_LOG))
        if path.exists():
            path.write_text(sentence, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crowetrade_agents.runtime", description="CroweTrade's data plane.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("gateway", help="run the gateway of one VenueConnection")
    strategy = commands.add_parser("strategy", help="run roles of one Strategy")
    strategy.add_argument("--roles", default=",".join(ALL_ROLES), help="roles of this process, separated by commas")
    return parser


if __name__ == "__main__":
    sys.exit(main())
