"""Process entry points: `python -m crowetrade_agents.runtime strategy --roles feature,signal,portfolio,execution` and,
where crowetrade-gateway is installed, `... gateway` and `... risk-auditor`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

import uvloop

from crowetrade_agents.errors import AgentError, ConfigurationError, JournalError
from crowetrade_agents.runtime.config import load_strategy, parse_roles, read_pod
from crowetrade_api.files import STRATEGY_FILE, TERMINATION_LOG, EnvName, ExitCode
from crowetrade_api.names import ROLES
from crowetrade_process.exit import failed, write_termination_message
from crowetrade_process.identity.errors import IdentitySettingsError
from crowetrade_process.logs import configure_logging
from crowetrade_process.memory_dumps import forbid_memory_dumps


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one process and returns its exit code."""
    options = _parser().parse_args(arguments)
    configure_logging()
    try:
        if options.command == "gateway":
            _gateway()
        elif options.command == "risk-auditor":
            _auditor()
        else:
            _strategy(options.roles)
    except (ConfigurationError, IdentitySettingsError) as error:
        return _failed(ExitCode.CONFIGURATION_ERROR, "configuration_error", error)
    except JournalError as error:
        return _failed(ExitCode.JOURNAL_LOST, "journal_lost", error)
    except AgentError as error:
        return _failed(ExitCode.FAILED, "stopped", error)
    return ExitCode.STOPPED


def _gateway() -> None:
    with _needs_gateway_package():
        from crowetrade_agents.runtime.gateway_pod import run_gateway
    # The venue's keys are in its memory.
    forbid_memory_dumps()
    uvloop.run(run_gateway(os.environ))


def _auditor() -> None:
    with _needs_gateway_package():
        from crowetrade_agents.runtime.auditor import run_auditor
    uvloop.run(run_auditor(os.environ))


@contextlib.contextmanager
def _needs_gateway_package() -> Iterator[None]:
    """The image of the agents has neither: a strategy's author ships no venue adapter."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("crowetrade_agents."):
            raise
        raise ConfigurationError(
            "crowetrade-gateway is not installed, as in the image of the agents: run the gateway's image here "
            "(chart value gateway.image)"
        ) from error


def _strategy(roles_text: str) -> None:
    from crowetrade_agents.runtime.strategy_pod import run_strategy
    from crowetrade_process.identity.settings import identity_from_environment

    roles = parse_roles(roles_text)
    pod = read_pod(os.environ, STRATEGY_FILE)
    config = load_strategy(pod.config_path)
    configure_logging(strategy=config.name, roles=",".join(roles))
    identity = identity_from_environment(os.environ)
    uvloop.run(run_strategy(config, roles, pod, identity, _write_termination_message))


def _write_termination_message(sentence: str) -> None:
    write_termination_message(sentence, os.environ.get(EnvName.TERMINATION_LOG, TERMINATION_LOG))


def _failed(code: ExitCode, event: str, error: Exception) -> int:
    return failed(code, event, str(error), os.environ.get(EnvName.TERMINATION_LOG, TERMINATION_LOG))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crowetrade_agents.runtime", description="CroweTrade's data plane.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("gateway", help="run the gateway of one VenueConnection")
    commands.add_parser("risk-auditor", help="judge again every order in the journals of all gateways")
    strategy = commands.add_parser("strategy", help="run roles of one Strategy")
    strategy.add_argument("--roles", default=",".join(ROLES), help="roles of this process, separated by commas")
    return parser


if __name__ == "__main__":
    sys.exit(main())
