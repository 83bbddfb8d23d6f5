"""What a Strategy's status says: each condition with its reason, each phase, and the figures of the gateways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.conditions import ConditionType
from crowetrade_api.gateway_config import AnyVenue
from crowetrade_api.names import PAUSED_ANNOTATION
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy, StrategyStatus
from crowetrade_operator.decide.observed import Children, GatewayView
from crowetrade_operator.decide.plan import Refusal
from crowetrade_operator.decide.strategy import Observed, plan
from crowetrade_operator.decide.strategy_status import report
from crowetrade_operator_tests.decide.scenes import (
    NEVER,
    NOW,
    applied,
    deleting,
    enforcing,
    fresh,
    live,
    namespace_view,
    pod,
    position,
    silent,
    told,
    two_venues,
)
from crowetrade_operator_tests.samples import (
    SETTINGS,
    account,
    change,
    limit,
    limit_manifest,
    strategy,
    strategy_manifest,
    unreadable_venue,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
EMA = strategy()
SUSPENDED = strategy(change(strategy_manifest(), "spec.suspend", True))
GONE = strategy(**deleting())
BOTH = strategy(two_venues())
THERE = venue(change(venue_manifest("sim-b"), "spec.instruments.0.symbol", "GBP-USD"))
CHANGED = strategy(change(strategy_manifest(), "spec.model.parameters.fast", 13), generation=2)
CRASHING = pod(
    container={"name": "agent", "restartCount": 3, "lastState": {"terminated": {"exitCode": 1, "message": "boom"}}}
)
MISCONFIGURED = pod(
    container={"name": "agent", "lastState": {"terminated": {"exitCode": 78, "message": "fast: must be below slow"}}}
)


def scene(
    resource: Strategy = EMA,
    accounts: Sequence[status_pb2.StrategyAccount] | None = None,
    *,
    view: GatewayView | None = None,
    agents: Sequence[status_pb2.AgentStatus] = (),
    ready: int = 1,
    pods: Sequence[Object] = (),
    venues: Sequence[AnyVenue] | None = None,
    gateway: Object | None = None,
    **around: Any,
) -> Observed:
    """A strategy that trades, but for what is given. `gateway` are fields of its gateway's status."""
    limits = around.pop("limits", [limit()])
    said = view or fresh(enforcing(venue(), [resource], limits, accounts, **(gateway or {})))
    gateways = around.pop("gateways", {"sim-fx": said})
    found = namespace_view([resource], venues=venues, limits=limits, gateways=gateways, **around)
    whole = Observed(resource, namespace_view([resource]), Children(), [], NOW)
    children = [*applied(plan(whole, SETTINGS), ready), *pods]
    return Observed(resource, found, Children(children), agents, NOW)


REFUSAL = Refusal(Reason.REFUSED_BY_CLUSTER, "The API server refused Deployment strategy-ema: exceeded quota")


def status_of(
    observed: Observed, previous: StrategyStatus | None = None, refusal: Refusal | None = None
) -> StrategyStatus:
    return report(observed, plan(observed, SETTINGS), refusal, previous or StrategyStatus())


SINCE_NS = 1_767_603_600_000_000_000


def refusals(reason: str = "MaxOrderQuantity", count: int = 12, ago_seconds: int = 5) -> status_pb2.Refusals:
    """Requests that the limit refused, the last of them so long before the gateway reported."""
    return status_pb2.Refusals(
        reason=reason,
        risk_limit="fx-desk",
        count=count,
        since_unix_ns=SINCE_NS,
        last_unix_ns=REPORTED_NS - ago_seconds * 1_000_000_000,
        text="use 600000 of 500000",
    )


REPORTED_NS = SINCE_NS + 3_600_000_000_000


def agent(**fields: Any) -> status_pb2.AgentStatus:
    return status_pb2.AgentStatus(namespace="desk", strategy="ema", **fields)


def observing(enforcement: str) -> RiskLimit:
    return limit(change(limit_manifest(), "spec.enforcement", enforcement))


def of_instrument(symbol: str, region: str) -> RiskLimit:
    """A limit for one instrument at the venues of one region."""
    scope = {"venueSelector": {"matchLabels": {"region": region}}, "instruments": [symbol]}
    return limit(change(limit_manifest(f"limit-{region}"), "spec.scope", scope))


def each_under_its_own_limit() -> Observed:
    """Two venues; the instrument of each has a limit there, and none at the other."""
    here = venue(venue_manifest(labels={"region": "eu"}))
    there = venue(change(venue_manifest("sim-b", labels={"region": "us"}), "spec.instruments.0.symbol", "GBP-USD"))
    limits = [of_instrument("EUR-USD", "eu"), of_instrument("GBP-USD", "us")]
    views = {
        "sim-fx": fresh(enforcing(here, [BOTH], limits, [account(risk_limits=["limit-eu"])])),
        "sim-b": fresh(enforcing(there, [BOTH], limits, [account(risk_limits=["limit-us"])])),
    }
    return scene(BOTH, venues=[here, there], limits=limits, gateways=views)


def beside_another() -> Observed:
    """A gateway that enforces our limit, but not yet that of another strategy."""
    other = strategy(strategy_manifest("other", labels={"desk": "rates"}))
    theirs = limit(change(limit_manifest("rates"), "spec.scope.strategySelector.matchLabels", {"desk": "rates"}))
    said = fresh(enforcing(venue(), [EMA, other], [limit()], [account(), account("other", risk_limits=[])]))
    around = namespace_view([EMA, other], limits=[limit(), theirs], gateways={"sim-fx": said})
    return Observed(EMA, around, scene().children, [], NOW)


TRADING = scene()
NO_VENUE = scene(venues=[], gateways={}, ready=0)
NO_BUS = scene(bus_connected=False, bus_problem="connection refused")
WAITS_FOR_FLAT = Observed(
    CHANGED,
    namespace_view(
        [CHANGED],
        gateways={"sim-fx": fresh(enforcing(venue(), [CHANGED], [limit()], [account(open_orders=1)]))},
    ),
    TRADING.children,
    [],
    NOW,
)
CONDITIONS: dict[str, tuple[Observed, str, str, str, str]] = {
    "all is well: ready": (TRADING, "Ready", "True", "Available", "Orders are accepted at sim-fx."),
    "all is well: agents": (TRADING, "AgentsAvailable", "True", "Available", "1 of 1 pods are ready."),
    "all is well: venue": (TRADING, "VenueConnected", "True", "LoggedOn", "Logged on at sim-fx."),
    "all is well: risk": (TRADING, "RiskBound", "True", "LimitsInForce", "In force: fx-desk."),
    "all is well: trading": (TRADING, "Trading", "True", "OrdersAccepted", "accepted at sim-fx"),
    "all is well: reconciling": (TRADING, "Reconciling", "False", "AsDesired", "as its spec says"),
    # agents
    "pods start": (scene(ready=0), "AgentsAvailable", "False", "Starting", "0 of 1 pods"),
    "pods crash": (scene(ready=0, pods=[CRASHING]), "AgentsAvailable", "False", "Crashing", "boom"),
    "a parameter is wrong": (
        scene(ready=0, pods=[MISCONFIGURED]),
        "AgentsAvailable",
        "False",
        "ConfigurationError",
        "fast: must be below slow",
    ),
    "without its venue it has no agents": (
        Observed(EMA, namespace_view([EMA], venues=[], gateways={}), Children(), [], NOW),
        "AgentsAvailable",
        "False",
        "VenueNotFound",
        "create it",
    ),
    "agents that crash say so even without a venue": (
        scene(venues=[], gateways={}, ready=0, pods=[CRASHING]),
        "AgentsAvailable",
        "False",
        "Crashing",
        "boom",
    ),
    # venue
    "no venue: the reason comes first": (NO_VENUE, "Ready", "False", "VenueNotFound", "create it"),
    "no venue yet": (NO_VENUE, "Reconciling", "True", "VenueNotFound", "VenueConnection"),
    "no venue: no limit": (NO_VENUE, "RiskBound", "False", "VenueNotFound", "No gateway for venue sim-fx yet"),
    "the bus is down: venue": (NO_BUS, "VenueConnected", "Unknown", "BusUnavailable", "connection refused"),
    "the bus is down: risk": (NO_BUS, "RiskBound", "Unknown", "BusUnavailable", "connection refused"),
    "the bus is down: trading": (NO_BUS, "Trading", "Unknown", "BusUnavailable", "NATS_URL"),
    "the bus is down: ready": (NO_BUS, "Ready", "Unknown", "BusUnavailable", "not known"),
    "the gateway starts": (scene(view=NEVER), "VenueConnected", "False", "Starting", "has not reported yet"),
    "the recording has ended": (
        scene(gateway={"session": status_pb2.SESSION_STATE_ENDED}),
        "VenueConnected",
        "True",
        "ReplayEnded",
        "has ended",
    ),
    "the recording has ended, so nothing is traded": (
        scene(gateway={"session": status_pb2.SESSION_STATE_ENDED}),
        "Trading",
        "False",
        "ReplayEnded",
        "has ended",
    ),
    "one of two venues is disconnected": (
        scene(
            BOTH,
            venues=[venue(), THERE],
            gateways={
                "sim-fx": fresh(enforcing(venue(), [BOTH], [limit()])),
                "sim-b": fresh(enforcing(THERE, [BOTH], [limit()], session=status_pb2.SESSION_STATE_DISCONNECTED)),
            },
        ),
        "VenueConnected",
        "False",
        "Disconnected",
        "Venue sim-b is disconnected",
    ),
    "one recording has ended and the other venue connects": (
        scene(
            BOTH,
            venues=[venue(), THERE],
            gateways={
                "sim-fx": fresh(enforcing(venue(), [BOTH], [limit()], session=status_pb2.SESSION_STATE_ENDED)),
                "sim-b": fresh(enforcing(THERE, [BOTH], [limit()], session=status_pb2.SESSION_STATE_CONNECTING)),
            },
        ),
        "VenueConnected",
        "False",
        "Connecting",
        "venue sim-b connects",
    ),
    # risk
    "no limit": (
        scene(limits=[]),
        "RiskBound",
        "False",
        "NoLimitInForce",
        "No enforced RiskLimit binds this strategy for EUR-USD at venue sim-fx",
    ),
    "a limit that is only observed": (
        scene(limits=[observing("Observe")]),
        "RiskBound",
        "False",
        "NoLimitInForce",
        "create a RiskLimit in namespace desk whose scope selects it",
    ),
    "a limit that cannot be read, beside one that can": (
        scene(unreadable_limits=["odd"]),
        "RiskBound",
        "False",
        "LimitUnreadable",
        "RiskLimit odd does not match the schema of this operator, so all venues of namespace desk are halted",
    ),
    "each instrument has a limit at its own venue": (
        each_under_its_own_limit(),
        "RiskBound",
        "True",
        "LimitsInForce",
        "In force: limit-eu, limit-us.",
    ),
    "the limit of another strategy is not in force yet": (
        beside_another(),
        "RiskBound",
        "True",
        "LimitsInForce",
        "In force: fx-desk.",
    ),
    "no account of it at the gateway": (
        scene(accounts=[]),
        "RiskBound",
        "False",
        "WaitingForGateway",
        "has not confirmed the limits yet",
    ),
    "the gateway is silent": (
        scene(view=silent(enforcing(venue(), [EMA], [limit()]))),
        "RiskBound",
        "False",
        "WaitingForGateway",
        "has not confirmed the limits yet",
    ),
    "the gateway enforces an older version of the limit": (
        scene(limits=[limit(generation=2)], view=fresh(enforcing(venue(), [EMA], [limit(generation=1)]))),
        "RiskBound",
        "False",
        "WaitingForGateway",
        "has not confirmed fx-desk yet",
    ),
    "the limit is in force, but not for this account": (
        scene(accounts=[account(risk_limits=[])]),
        "RiskBound",
        "False",
        "WaitingForGateway",
        "has not confirmed fx-desk yet",
    ),
    # trading
    "it is being deleted": (
        scene(GONE, [account(open_orders=1)]),
        "Trading",
        "False",
        "Stopping",
        "waiting for sim-fx",
    ),
    "it is deleted and stopped": (
        scene(GONE, [account(stopped=True)]),
        "Trading",
        "False",
        "Stopping",
        "waiting for nothing more",
    ),
    "it is being suspended": (
        scene(SUSPENDED, [account(open_orders=1)]),
        "Trading",
        "False",
        "Stopping",
        "waiting for the gateway of sim-fx to confirm",
    ),
    "it is suspended": (
        scene(SUSPENDED, [account(stopped=True)]),
        "Trading",
        "False",
        "Suspended",
        "no order is open, none is accepted",
    ),
    "it is suspended at a gateway that has no account of it": (
        scene(SUSPENDED, []),
        "Trading",
        "False",
        "Suspended",
        "none is accepted",
    ),
    "it is suspended, but the gateway is silent": (
        scene(SUSPENDED, view=silent(enforcing(venue(), [SUSPENDED], [limit()], [account(stopped=True)]))),
        "Trading",
        "False",
        "Stopping",
        "waiting for the gateway of sim-fx",
    ),
    "the gateway blocks everything": (
        scene(gateway={"blocked_reason": "NoConfiguration"}),
        "Trading",
        "False",
        "WaitingForGateway",
        "has not received its configuration yet",
    ),
    "the execution agent has no session": (
        scene(accounts=[account(connected=False)]),
        "Trading",
        "False",
        "AgentNotConnected",
        "has no session with the gateway of venue sim-fx yet",
    ),
    "the gateway has not resumed it yet": (
        scene(accounts=[account(stopped=True)]),
        "Trading",
        "False",
        "WaitingForGateway",
        "has not resumed the strategy yet",
    ),
    # progressing
    "a change waits": (WAITS_FOR_FLAT, "Reconciling", "True", "WaitingForFlat", "1 open orders at venue sim-fx"),
    "a change is rolled out": (
        Observed(CHANGED, namespace_view([CHANGED]), TRADING.children, [], NOW),
        "Reconciling",
        "True",
        "RollingOut",
        "being brought to the present configuration",
    ),
    "the Deployment controller has not caught up": (
        Observed(
            EMA,
            TRADING.around,
            Children([live(item, 1, updatedReplicas=0) for item in plan(TRADING, SETTINGS).apply]),
            [],
            NOW,
        ),
        "Reconciling",
        "True",
        "RollingOut",
        "being brought",
    ),
    # ready
    "the model warms up": (
        scene(agents=[agent(waiting_reason="WarmingUp", waiting_message="12 of 48 bars.")]),
        "Ready",
        "True",
        "Available",
        "The agents run: WarmingUp. 12 of 48 bars.",
    ),
    "one of several agents waits": (
        scene(agents=[agent(pod="a"), agent(pod="b", waiting_reason="NoMarketData")]),
        "Ready",
        "True",
        "Available",
        "The agents run: NoMarketData.",
    ),
    "suspended is ready, and says so": (
        scene(SUSPENDED, [account(stopped=True)]),
        "Ready",
        "True",
        "Available",
        "spec.suspend is true",
    ),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_conditions(case: str) -> None:
    observed, type_, status, reason, words = CONDITIONS[case]
    found = told(status_of(observed).conditions, ConditionType(type_))
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


def test_a_refused_child_is_told_in_the_words_of_the_api_server() -> None:
    status = status_of(
        TRADING,
        refusal=REFUSAL,
    )
    for type_ in (ConditionType.READY, ConditionType.AGENTS_AVAILABLE, ConditionType.TRADING):
        found = told(status.conditions, type_)
        assert (found.status, found.reason) == ("False", "RefusedByCluster")
        assert "exceeded quota" in found.message
    assert status.phase == "Degraded"


def test_paused_is_a_condition_while_it_lasts() -> None:
    paused = scene(strategy(annotations={PAUSED_ANNOTATION: "true"}))
    assert told(status_of(paused).conditions, ConditionType.PAUSED).reason == "ReconcilingPaused"
    assert all(item.type != "Paused" for item in status_of(TRADING).conditions)


def test_a_transition_keeps_its_time_until_the_status_changes() -> None:
    before = status_of(TRADING)
    again = status_of(scene(agents=[agent(waiting_reason="WarmingUp")]), before)
    moved = [item.model_copy(update={"last_transition_time": "2020-01-01T00:00:00Z"}) for item in before.conditions]
    kept = status_of(TRADING, before.model_copy(update={"conditions": moved}))
    assert told(again.conditions, ConditionType.READY).last_transition_time == NOW.text
    assert {item.last_transition_time for item in kept.conditions} == {"2020-01-01T00:00:00Z"}
    assert kept.observed_generation == 1


PHASES: dict[str, tuple[Observed, str, str]] = {
    "trades": (TRADING, "", "Trading"),
    "is deleted": (scene(GONE, [account(open_orders=1)]), "Trading", "Stopping"),
    "never had a venue": (NO_VENUE, "", "Pending"),
    "has lost its venue": (NO_VENUE, "Trading", "Degraded"),
    "still has no venue": (NO_VENUE, "Degraded", "Degraded"),
    "is being suspended": (scene(SUSPENDED, [account(open_orders=1)]), "Trading", "Stopping"),
    "is suspended": (scene(SUSPENDED, [account(stopped=True)]), "Stopping", "Suspended"),
    "is suspended while its pods are gone": (
        scene(SUSPENDED, [account(stopped=True)], ready=0),
        "Suspended",
        "Suspended",
    ),
    "crashes": (scene(ready=0, pods=[CRASHING]), "Starting", "Degraded"),
    "has a wrong parameter": (scene(ready=0, pods=[MISCONFIGURED]), "Starting", "Degraded"),
    "has no limit": (scene(limits=[]), "Starting", "Pending"),
    "starts": (scene(ready=0), "", "Starting"),
    "waits for its session": (scene(accounts=[account(connected=False)]), "Starting", "Starting"),
    "has lost its session": (scene(accounts=[account(connected=False)]), "Trading", "Degraded"),
    "has lost a pod": (scene(ready=0), "Trading", "Degraded"),
    "has come to the end of the recording": (
        scene(gateway={"session": status_pb2.SESSION_STATE_ENDED}),
        "Trading",
        "Ended",
    ),
    "has lost a pod after the end of the recording": (
        scene(gateway={"session": status_pb2.SESSION_STATE_ENDED}, ready=0),
        "Ended",
        "Degraded",
    ),
    "cannot know, because the bus is down": (NO_BUS, "Trading", "Degraded"),
}


@pytest.mark.parametrize("case", PHASES)
def test_phases(case: str) -> None:
    observed, before, phase = PHASES[case]
    previous = StrategyStatus.model_validate({"phase": before})
    assert status_of(observed, previous).phase == phase


def test_what_could_be_made_after_all_starts() -> None:
    """As if it had never been refused."""
    refused = status_of(scene(ready=0), refusal=REFUSAL)
    assert refused.phase == "Degraded"
    assert status_of(scene(ready=0), refused).phase == "Starting"


# --- figures

KNOWN = StrategyStatus.model_validate(
    {
        "phase": "Trading",
        "position": [{"symbol": "EUR-USD", "venue": "sim-fx", "quantity": "7000"}],
        "pnl": {"currency": "USD", "realized": "1", "net": "1"},
        "orders": {"sentTotal": 9, "filledTotal": 4},
        "configHash": "sha256:old",
        "lastSignalTime": "2026-01-05T09:00:00Z",
    }
)


def test_positions_are_exactly_what_the_gateway_says() -> None:
    said = position("120000", average_price="1.05231", mark_price="1.05402", mark_unix_ns=1_767_607_000_900_000_000)
    status = status_of(scene(accounts=[account(positions=[said])]))
    assert [item.to_api() for item in status.position] == [
        {
            "symbol": "EUR-USD",
            "venue": "sim-fx",
            "quantity": "120000",
            "averagePrice": "1.05231",
            "markPrice": "1.05402",
            "markTime": "2026-01-05T09:56:40Z",
        }
    ]
    assert status.summary.position == "120000 EUR-USD"
    assert status_of(scene(accounts=[account(positions=[position("0")])])).summary.position == "0"


def test_a_gateway_that_was_never_heard_leaves_what_was_known() -> None:
    status = status_of(scene(view=NEVER), KNOWN)
    assert [item.quantity for item in status.position] == ["7000"]
    assert (status.pnl, status.orders) == (KNOWN.pnl, KNOWN.orders)
    assert status.config_hash == "sha256:old"
    assert status.last_signal_time == "2026-01-05T09:00:00Z"


def test_a_gateway_that_speaks_replaces_what_was_known() -> None:
    assert status_of(scene(accounts=[]), KNOWN).position == []


def test_a_gateway_that_fell_silent_keeps_its_last_figures() -> None:
    last = enforcing(venue(), [EMA], [limit()], [account(positions=[position("5000")], open_orders=2)])
    status = status_of(scene(view=silent(last)), KNOWN)
    assert [item.quantity for item in status.position] == ["5000"]
    assert status.orders.open == 2


def test_venues_are_added_up_and_a_venue_that_was_not_heard_keeps_its_positions() -> None:
    here = account(
        positions=[position("10", realized_pnl="1.5", unrealized_pnl="0.25", fees="0.1")],
        open_orders=1,
        sent_total=5,
        filled_total=3,
        rejected_total=1,
    )
    there = account(
        positions=[position("20", "GBP-USD", realized_pnl="-0.5", unrealized_pnl="1", fees="0.2")],
        open_orders=2,
        sent_total=7,
        last_reject=refusals("MaxPositionQuantity", count=1),
    )
    views = {
        "sim-fx": fresh(enforcing(venue(), [BOTH], [limit()], [here])),
        "sim-b": fresh(enforcing(THERE, [BOTH], [limit()], [there])),
    }
    status = status_of(scene(BOTH, venues=[venue(), THERE], gateways=views))
    assert status.pnl is not None
    assert status.pnl.to_api() == {
        "currency": "USD",
        "realized": "1",
        "unrealized": "1.25",
        "fees": "0.3",
        "net": "1.95",
    }
    assert status.orders.to_api() == {
        "open": 3,
        "sentTotal": 12,
        "filledTotal": 3,
        "rejectedTotal": 1,
        "lastReject": {
            "reason": "MaxPositionQuantity",
            "limit": "fx-desk",
            "count": 1,
            "since": "2026-01-05T09:00:00Z",
            "text": "use 600000 of 500000",
        },
    }
    assert status.summary.venues == "sim-fx,sim-b"
    known = status_of(scene(BOTH, venues=[venue(), THERE], gateways={"sim-fx": views["sim-fx"]}), status)
    assert [(item.venue, item.quantity) for item in known.position] == [("sim-b", "20"), ("sim-fx", "10")]


def test_a_single_figure_is_not_reformatted() -> None:
    only = position("10", realized_pnl="607.20", unrealized_pnl="205.20", fees="12.40")
    pnl = status_of(scene(accounts=[account(positions=[only])])).pnl
    assert pnl is not None
    assert (pnl.realized, pnl.unrealized, pnl.fees, pnl.net) == ("607.20", "205.20", "12.40", "800")


def test_without_a_mark_the_profit_is_not_known() -> None:
    """Empty, not zero: a position without a price is not worth nothing."""
    unmarked = position("10", mark_price="", unrealized_pnl="", realized_pnl="3", fees="1")
    pnl = status_of(scene(accounts=[account(positions=[unmarked])])).pnl
    assert pnl is not None
    assert (pnl.realized, pnl.unrealized, pnl.fees, pnl.net) == ("3", "", "1", "")
    flat = position("0", mark_price="", unrealized_pnl="", realized_pnl="3", fees="1")
    pnl = status_of(scene(accounts=[account(positions=[flat])])).pnl
    assert pnl is not None
    assert (pnl.unrealized, pnl.net) == ("0", "2")


@pytest.mark.parametrize(("quantity", "worth"), [("0", ("2", "5.5")), ("10", ("", ""))])
def test_what_was_made_in_another_currency_is_not_added(quantity: str, worth: tuple[str, str]) -> None:
    """As of a strategy that has moved from one to another."""
    yen = venue(change(venue_manifest("sim-b"), "spec.instruments.0.currency", "JPY"))
    here = account(positions=[position("5", realized_pnl="4", unrealized_pnl="2", fees="0.5")])
    there = account(positions=[position(quantity, realized_pnl="3000", unrealized_pnl="700", fees="90")])
    views = {
        "sim-fx": fresh(enforcing(venue(), [BOTH], [limit()], [here])),
        "sim-b": fresh(enforcing(yen, [BOTH], [limit()], [there])),
    }
    pnl = status_of(scene(BOTH, venues=[venue(), yen], gateways=views)).pnl
    assert pnl is not None
    assert (pnl.currency, pnl.realized, pnl.fees) == ("USD", "4", "0.5")
    assert (pnl.unrealized, pnl.net) == worth


def test_before_any_order_the_profit_is_zero() -> None:
    pnl = status_of(TRADING).pnl
    assert pnl is not None
    assert (pnl.realized, pnl.unrealized, pnl.fees, pnl.net) == ("0", "0", "0", "0")


HASHES = {
    "all agents run the same": ([agent(pod="a", config_hash="sha256:1"), agent(pod="b", config_hash="sha256:1")], "1"),
    "agents run different ones": (
        [agent(pod="a", config_hash="sha256:1"), agent(pod="b", config_hash="sha256:2")],
        "old",
    ),
    "an agent that does not say is not counted": ([agent(pod="a", config_hash="sha256:1"), agent(pod="b")], "1"),
    "no agent has spoken": ([], "old"),
}


@pytest.mark.parametrize("case", HASHES)
def test_the_config_hash_is_what_the_agents_say_that_they_run(case: str) -> None:
    agents, expected = HASHES[case]
    assert status_of(scene(agents=agents), KNOWN).config_hash == f"sha256:{expected}"


def test_the_last_signal_is_the_youngest_of_all_agents() -> None:
    agents = [
        agent(pod="a", last_signal_unix_ns=1_767_607_000_900_000_000),
        agent(pod="b", last_signal_unix_ns=1_767_606_000_000_000_000),
    ]
    assert status_of(scene(agents=agents)).last_signal_time == "2026-01-05T09:56:40Z"
    assert status_of(scene(agents=[agent()])).last_signal_time is None


def test_agents_are_counted_by_deployment() -> None:
    split = scene(strategy(change(strategy_manifest(), "spec.agents", {"topology": "Split"})))
    assert status_of(split).agents.to_api() == {"ready": 4, "desired": 4, "summary": "4/4"}
    assert status_of(scene(ready=0)).agents.summary == "0/1"


def test_limits_in_force_are_those_that_the_gateways_name() -> None:
    status = status_of(scene(accounts=[account(risk_limits=["fx-desk", "all"])]))
    assert status.risk_limits == ["all", "fx-desk"]
    assert status_of(scene(view=NEVER), KNOWN).risk_limits == []


def test_a_position_is_marked_at_its_own_instrument_and_says_when() -> None:
    """Each instrument has its own price: a mark of another one made -6.8 billion out of -114,000 EUR-USD."""
    held = [
        position("-114000", mark_price="1.0541", mark_unix_ns=1_767_607_000_000_000_000),
        position("2", "BTC-USD", mark_price="60012.5", mark_unix_ns=1_767_607_001_000_000_000),
    ]
    status = status_of(scene(accounts=[account(positions=held)]))
    assert [(item.symbol, item.mark_price, item.mark_time) for item in status.position] == [
        ("BTC-USD", "60012.5", "2026-01-05T09:56:41Z"),
        ("EUR-USD", "1.0541", "2026-01-05T09:56:40Z"),
    ]


LONG = "0.071246033991160504694835680751173708921"


def test_a_number_of_any_length_is_a_status() -> None:
    """41 characters froze the status for as long as the position lived."""
    held = position(
        "1" + "0" * 70, average_price=LONG + "0" * 40, realized_pnl="-" + LONG, unrealized_pnl="1." + "3" * 79
    )
    status = status_of(scene(accounts=[account(positions=[held])]))
    assert status.pnl is not None
    numbers = [value for value in status.position[0].to_api().values() if value[:1] in "-0123456789"]
    numbers += [value for value in status.pnl.to_api().values() if value != "USD"]
    assert len(numbers) >= 7
    assert max(len(value) for value in numbers) <= 64


def test_the_same_symbol_at_two_venues_is_two_positions() -> None:
    pair = strategy(
        change(
            strategy_manifest(),
            "spec.instruments",
            [{"symbol": "EUR-USD", "venueRef": {"name": name}} for name in ("sim-fx", "sim-b")],
        )
    )
    there = venue(venue_manifest("sim-b"))
    views = {
        item.name: fresh(enforcing(item, [pair], [limit()], [account(positions=[position(quantity)])]))
        for item, quantity in ((venue(), "1000"), (there, "-1000"))
    }
    status = status_of(scene(pair, venues=[venue(), there], gateways=views))
    assert [(item.venue, item.quantity) for item in status.position] == [("sim-b", "-1000"), ("sim-fx", "1000")]
    assert status.summary.position == "-1000 EUR-USD at sim-b, 1000 EUR-USD at sim-fx"


# --- a venue that is gone or not to be believed


def test_a_position_at_a_venue_that_is_gone_is_the_last_known_one_and_not_live() -> None:
    marked = {"symbol": "EUR-USD", "venue": "sim-fx", "quantity": "-175000", "markPrice": "1.05", "markTime": "t"}
    known = {"position": [marked], "pnl": {"currency": "USD", "realized": "5", "unrealized": "9", "net": "14"}}
    before = StrategyStatus.model_validate(known)
    orphan = EMA.model_copy(update={"status": before})
    status = status_of(scene(orphan, venues=[], gateways={}), before)
    assert [(item.quantity, item.mark_price, item.mark_time) for item in status.position] == [("-175000", "", None)]
    assert status.summary.position == "-175000 EUR-USD (last known)"
    assert status.pnl is not None
    assert (status.pnl.realized, status.pnl.unrealized, status.pnl.net) == ("5", "", "")
    connected = told(status.conditions, ConditionType.VENUE_CONNECTED)
    assert "The last known position there is -175000 EUR-USD" in connected.message


def below_record(**fields: Any) -> Observed:
    recorded = venue().model_copy(
        update={"status": type(venue().status).model_validate({"session": {"fencingToken": 4}})}
    )
    said = fresh(enforcing(recorded, [EMA], [limit()], [account(positions=[position("0")])], **fields))
    return scene(EMA, venues=[recorded], gateways={"sim-fx": said})


def test_a_gateway_that_lost_its_journal_does_not_make_a_strategy_flat() -> None:
    halted = {"blocked_reason": "JournalBelowRecord", "blocked_message": "compare, then annotate ..."}
    for fields in ({}, halted):
        status = status_of(below_record(fencing_token=1, **fields), KNOWN)
        assert status.summary.position == "7000 EUR-USD"
        assert status.orders.sent_total == 9
        assert status.phase == "Halted"
        for type_ in (ConditionType.READY, ConditionType.TRADING):
            assert told(status.conditions, type_).reason == "JournalBelowRecord"
    assert "annotate ..." in told(status.conditions, ConditionType.HALTED).message


# --- refusals


def refused(
    last: status_pb2.Refusals | None = None,
    resource: Strategy = EMA,
    agents: Sequence[status_pb2.AgentStatus] = (),
    gateway: Object | None = None,
) -> Observed:
    accounts = [account(last_reject=last or refusals())]
    return scene(resource, accounts, agents=agents, gateway={"sent_unix_ns": REPORTED_NS, **(gateway or {})})


def test_refusals_that_keep_coming_are_a_condition_with_limit_count_and_sentence() -> None:
    status = status_of(refused())
    found = told(status.conditions, ConditionType.ORDERS_REFUSED)
    assert (found.status, found.reason) == ("True", "OrdersRefused")
    assert found.message == (
        "12 requests in a row were refused at venue sim-fx by RiskLimit fx-desk since 2026-01-05T09:00:00Z: "
        "MaxOrderQuantity. use 600000 of 500000"
    )
    assert status.orders.last_reject is not None
    assert status.orders.last_reject.count == 12
    assert told(status.conditions, ConditionType.TRADING).status == "True", "other orders are accepted"


PROBLEM = status_pb2.AgentProblem(reason="OrdersRefused", message="3 orders wait", count=3)
NOT_REFUSED: dict[str, Observed] = {
    "one alone": refused(refusals(count=1)),
    "none for a minute": refused(refusals(ago_seconds=61)),
    "it is suspended": refused(resource=SUSPENDED),
    "the gateway is halted, which says it": refused(gateway={"blocked_reason": "PositionDifference"}),
    "nothing was refused": scene(),
}


@pytest.mark.parametrize("case", NOT_REFUSED)
def test_what_is_no_refusal_that_keeps_coming(case: str) -> None:
    assert all(item.type != "OrdersRefused" for item in status_of(NOT_REFUSED[case]).conditions)
    before = status_of(refused())
    found = told(status_of(NOT_REFUSED[case], before).conditions, ConditionType.ORDERS_REFUSED)
    assert (found.status, found.reason) == ("False", "NotRefused")


def test_an_agent_that_has_backed_off_for_longer_still_says_that_it_is_refused() -> None:
    observed = refused(refusals(ago_seconds=90), agents=[agent(problems=[PROBLEM])])
    assert told(status_of(observed).conditions, ConditionType.ORDERS_REFUSED).message == "3 orders wait (3 times)"


# --- what agents report


def problem(reason: str, message: str) -> Observed:
    reported = status_pb2.AgentProblem(reason=reason, message=message, count=7, since_unix_ns=SINCE_NS)
    return scene(agents=[agent(problems=[reported])])


@pytest.mark.parametrize("reason", ["ModelFailing", "StageFailed"])
def test_a_model_that_fails_is_neither_ready_nor_trading(reason: str) -> None:
    status = status_of(problem(reason, "KeyError: boom"), StrategyStatus.model_validate({"phase": "Trading"}))
    ready, trading = told(status.conditions, ConditionType.READY), told(status.conditions, ConditionType.TRADING)
    assert (ready.status, ready.reason, trading.status, trading.reason) == ("False", reason, "False", reason)
    assert ready.message == "KeyError: boom (7 times since 2026-01-05T09:00:00Z)"
    assert status.phase == "Degraded"


def test_a_silent_feed_stops_trading_and_leaves_the_strategy_ready() -> None:
    """It stands down as its policy says: nothing is broken, and nobody has to do anything about the strategy."""
    status = status_of(problem("DataGap", "no quote of EUR-USD for 31 s"))
    trading = told(status.conditions, ConditionType.TRADING)
    assert (trading.status, trading.reason) == ("False", "DataGap")
    assert told(status.conditions, ConditionType.READY).message == "no quote of EUR-USD for 31 s"
    assert told(status.conditions, ConditionType.READY).status == "True"


# --- halts and what cannot be read


def test_a_venue_that_is_suspended_stops_trading_and_leaves_the_strategy_ready() -> None:
    suspended = venue(change(venue_manifest(), "spec.suspend", True))
    said = {
        "blocked_reason": "VenueSuspended",
        "blocked_message": "spec.suspend of VenueConnection sim-fx is true",
    }
    observed = scene(
        venues=[suspended], gateways={"sim-fx": fresh(enforcing(suspended, [EMA], [limit()], None, None, (), **said))}
    )
    status = status_of(observed)
    assert told(status.conditions, ConditionType.TRADING).reason == "VenueSuspended"
    assert told(status.conditions, ConditionType.READY).status == "True"


def test_a_venue_that_cannot_be_read_halts_its_strategies() -> None:
    odd = unreadable_venue()
    observed = scene(venues=[odd], gateways={"sim-fx": fresh(enforcing(odd, [EMA], [limit()]))})
    status = status_of(observed)
    assert told(status.conditions, ConditionType.VENUE_CONNECTED).reason == "VenueUnreadable"
    assert told(status.conditions, ConditionType.TRADING).reason == "VenueUnreadable"
    assert status.phase == "Halted"


def test_a_limit_that_the_gateway_does_not_know_is_named() -> None:
    said = enforcing(venue(), [EMA], [limit()], [account(risk_limits=[])])
    said.risk_acknowledgements[0].problem = "it sets maxVega, which this gateway does not know"
    found = told(status_of(scene(view=fresh(said))).conditions, ConditionType.RISK_BOUND)
    assert (found.status, found.reason) == ("False", "LimitUnknown")
    assert "maxVega" in found.message


def test_a_limit_that_was_made_again_under_its_name_is_not_in_force_yet() -> None:
    said = fresh(enforcing(venue(), [EMA], [limit(uid="before")]))
    found = told(status_of(scene(view=said)).conditions, ConditionType.RISK_BOUND)
    assert (found.status, found.reason) == ("False", "WaitingForGateway")


def test_a_market_in_lock_step_names_whom_it_waits_for() -> None:
    two = [account(), account("broken", connected=False)]
    observed = scene(accounts=two, gateway={"waiting_for": ["broken"]})
    found = told(status_of(observed).conditions, ConditionType.VENUE_CONNECTED)
    assert (found.status, found.reason) == ("True", "WaitingForStrategies")
    assert "waits for broken, which has no session" in found.message
    trading = told(status_of(observed).conditions, ConditionType.TRADING)
    assert trading.status == "True"
    assert "waits for broken" in trading.message
