"""A simulated venue replays a file of the user's own, and says what is wrong with one that it cannot read."""

from __future__ import annotations

from tools.demo.kubernetes import Object

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace

_SECOND_NS = 1_000_000_000
_START_NS = 1_700_000_000 * _SECOND_NS
_QUOTES = 2000


def _quotes(backwards: bool = False) -> str:
    """A market that swings between 1.10 and 1.11, a quote each second."""
    rows = []
    for number in range(_QUOTES):
        swing = abs(number % 40 - 20) * 50
        bid, ask = 110_000 + swing, 110_010 + swing
        rows.append(f"{_START_NS + number * _SECOND_NS},{bid / 1e5:.5f},500000,{ask / 1e5:.5f},500000")
    if backwards:
        rows.reverse()
    return "ts_ns,bid_px,bid_sz,ask_px,ask_sz\n" + "\n".join(rows) + "\n"


def _file(content: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "my-quotes"},
        "data": {"quotes.csv": content},
    }


def _venue() -> Object:
    simulated = {
        "data": {"configMap": {"name": "my-quotes", "key": "quotes.csv"}},
        "replay": {"speed": "20", "loop": True},
    }
    return manifests.venue(simulated=simulated)


def test_a_csv_in_a_config_map_is_traded(namespace: Namespace) -> None:
    # The venue first: what its pod waits for may come later.
    namespace.apply(manifests.risk_limit(), _venue(), manifests.strategy("ema"))
    namespace.apply(_file(_quotes()))
    namespace.until_trading("ema")
    namespace.until_filled("ema")


def test_a_file_that_cannot_be_read_is_a_condition_that_says_what_to_do(namespace: Namespace) -> None:
    namespace.apply(_file(_quotes(backwards=True)), _venue())
    namespace.until_condition("venueconnection", manifests.VENUE, "Ready", "False", "ConfigurationError")
    conditions = namespace.status("venueconnection", manifests.VENUE)["conditions"]
    ready = next(entry for entry in conditions if entry["type"] == "Ready")
    assert "quotes.csv goes back in time: sort it by ts_ns" in ready["message"]
