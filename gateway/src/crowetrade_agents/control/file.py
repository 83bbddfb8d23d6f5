"""Kill orders in force, in a file of the pod: they survive the container without bus and journal.

JSON, {"kills": [KillOrder, ...]}, replaced as a whole. What is there and cannot be read counts as a kill of everybody.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import structlog
from google.protobuf import json_format

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import everything

NAME = "kills.json"

_log = structlog.get_logger(__name__)


class KillFile:
    """The file of one gateway in a directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME

    def read(self, namespace: str, venue: str) -> list[kill_pb2.KillOrder]:
        """The orders that were written last. Raises nothing: one for everybody stands for what cannot be read, named
        after the VenueConnection."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            return [json_format.ParseDict(item, kill_pb2.KillOrder()) for item in content["kills"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, json_format.ParseError) as error:
            _log.error("kill_file_unreadable", path=str(self._path), error=str(error))
            text = f"{NAME} of the gateway's pod cannot be read ({type(error).__name__}), which counts as engaged"
            return [everything(namespace, f"kill-file-of-{venue}", text)]

    def write(self, orders: Sequence[kill_pb2.KillOrder]) -> None:
        """Returns once they are on disk; raises OSError."""
        content = {"kills": [json_format.MessageToDict(order) for order in orders]}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".new")
        with written.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self._path)
