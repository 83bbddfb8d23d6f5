"""A gateway: its children, its key, what its status says, and its safe end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from crowetrade.bus.v1 import instrument_pb2, status_pb2
from crowetrade_api.conditions import ConditionType
from crowetrade_api.gateway_config import AnyStrategy, AnyVenue
from crowetrade_api.names import (
    CLEAR_HALT_ANNOTATION,
    CONFIG_HASH_ANNOTATION,
    FINALIZER,
    FORCE_DELETE_ANNOTATION,
    FOREGROUND_FINALIZER,
    PAUSED_ANNOTATION,
)
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.venueconnection import VenueConnection, VenueConnectionStatus
from crowetrade_operator.decide import last_applied
from crowetrade_operator.decide.observed import Children, GatewayView, Kept, ObservedVenue
from crowetrade_operator.decide.plan import Refusal
from crowetrade_operator.decide.venueconnection import LOOK_AGAIN_SECONDS, plan
from crowetrade_operator.decide.venueconnection_deletion import CASCADE_SECONDS
from crowetrade_operator.decide.venueconnection_status import report
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.decide.scenes import (
    NEVER,
    NOW,
    applied,
    deleted_seconds,
    deleting,
    enforcing,
    fresh,
    live,
    names,
    namespace_view,
    pod,
    position,
    recorded,
    silent,
    told,
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
WITH_VAULT = replace(SETTINGS, vault_address="https://vault.vault.svc:8200")
EMA = strategy()
PLAIN = venue()
GONE = venue(**deleting())
SUSPENDED = venue(change(venue_manifest(), "spec.suspend", True))
VAULT = {"vault": {"path": "secret/data/venues/sim", "role": "venue-sim"}}
KEYED = venue(change(venue_manifest(), "spec.credentials", VAULT))
SECRET = {"name": "sim-key", "keys": {"apiKey": "api-key", "secret": "api-secret"}}
WITH_SECRET = venue(change(venue_manifest(), "spec.credentials", {"secretRef": SECRET}))
CRASHING = pod(
    container={"name": "gateway", "restartCount": 3, "lastState": {"terminated": {"exitCode": 1, "message": "boom"}}}
)


def deployment(ready: int) -> Object:
    return next(live(item, ready) for item in plan(scene(children=[]), SETTINGS).apply if item["kind"] == "Deployment")


def scene(
    resource: AnyVenue = PLAIN,
    view: GatewayView | None = None,
    *,
    traders: Sequence[AnyStrategy] = (EMA,),
    ready: int = 1,
    pods: Sequence[Object] = (),
    children: Sequence[Object] | None = None,
    accounts: Sequence[status_pb2.StrategyAccount] | None = None,
    gateway: Object | None = None,
    **around: Any,
) -> ObservedVenue:
    """A venue that one strategy trades at, but for what is given. `gateway` are fields of its gateway's status."""
    said = view or fresh(enforcing(resource, traders, [limit()], accounts, **(gateway or {})))
    found = namespace_view(traders, venues=[resource], gateways={resource.name: said}, **around)
    items = [deployment(ready), *pods] if children is None else children
    return ObservedVenue(resource, found, Children(items), NOW, deleted_seconds=deleted_seconds(resource))


REFUSAL = Refusal(Reason.REFUSED_BY_CLUSTER, "The API server refused Deployment venue-sim-fx: exceeded quota")


def status_of(
    observed: ObservedVenue,
    previous: VenueConnectionStatus | None = None,
    refusal: Refusal | None = None,
    settings: Settings = SETTINGS,
) -> VenueConnectionStatus:
    return report(observed, plan(observed, settings), settings, refusal, previous or VenueConnectionStatus())


# --- children


def test_a_venue_has_its_children_in_the_order_in_which_the_pod_needs_them() -> None:
    planned = plan(scene(), SETTINGS)
    assert [item["kind"] for item in planned.apply] == [
        "ServiceAccount",
        "ConfigMap",
        "NetworkPolicy",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
    ]
    assert planned.finalizer is True
    assert planned.requeue_after_seconds == LOOK_AGAIN_SECONDS
    assert planned.config is not None
    assert [item.strategy for item in planned.config.strategies] == ["ema"]


def test_without_a_vault_no_pod_waits_for_a_key_that_never_comes() -> None:
    assert names(plan(scene(KEYED), SETTINGS).apply) == []
    assert names(plan(scene(KEYED), WITH_VAULT).apply) == ["venue-sim-fx"]
    assert names(plan(scene(WITH_SECRET), SETTINGS).apply) == ["venue-sim-fx"]


def test_paused_leaves_the_children_alone_but_limits_still_go_out() -> None:
    planned = plan(scene(venue(annotations={PAUSED_ANNOTATION: "true"})), SETTINGS)
    assert list(planned.apply) == []
    assert planned.config is not None
    assert [rule.risk_limit for rule in planned.config.rules] == ["fx-desk"]


def _hash(resource: VenueConnection, settings: Settings = SETTINGS) -> str:
    found = next(item for item in plan(scene(resource), settings).apply if item["kind"] == "Deployment")
    return str(found["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH_ANNOTATION])


def test_suspending_restarts_nothing_and_travels_by_the_bus() -> None:
    assert _hash(venue(change(venue_manifest(), "spec.suspend", True), generation=2)) == _hash(PLAIN)
    config = plan(scene(SUSPENDED), SETTINGS).config
    assert config is not None
    assert config.halted_reason == "VenueSuspended"


RESTARTS: dict[str, tuple[VenueConnection, Settings]] = {
    "other data": (venue(change(venue_manifest(), "spec.simulated.replay.speed", "1")), SETTINGS),
    "another Vault role": (
        venue(change(venue_manifest(), "spec.credentials.vault", {**VAULT["vault"], "role": "other"})),
        WITH_VAULT,
    ),
    "another address of Vault": (KEYED, replace(WITH_VAULT, vault_address="http://other:8200")),
}


@pytest.mark.parametrize("case", RESTARTS)
def test_what_restarts_a_gateway(case: str) -> None:
    resource, settings = RESTARTS[case]
    before = PLAIN if resource.spec.credentials is None else KEYED
    assert _hash(resource, settings) != _hash(before, WITH_VAULT)


def test_a_change_of_what_a_gateway_does_not_read_writes_nothing() -> None:
    before, after = venue(), venue(change(venue_manifest(), "spec.suspend", True), generation=7)
    assert recorded(plan(scene(after), SETTINGS).apply) == recorded(plan(scene(before), SETTINGS).apply)


def test_a_gateway_that_runs_is_kept_when_the_operator_has_no_vault_any_more() -> None:
    children = applied(plan(scene(KEYED), WITH_VAULT))
    found = plan(replace(scene(KEYED), children=Children(children)), SETTINGS)
    assert recorded(found.apply) == recorded(plan(scene(KEYED), WITH_VAULT).apply)
    assert names(plan(scene(KEYED), SETTINGS).apply) == [], "and none is made"


# --- conditions

SILENT = silent(enforcing(PLAIN, [EMA], [limit()]))
REJECTED = {"session": status_pb2.SESSION_STATE_LOGON_REJECTED, "session_message": "bad key"}
ENDED = {"session": status_pb2.SESSION_STATE_ENDED}


def keys(**fields: Any) -> Object:
    """What a gateway says of its keys."""
    return {"credentials": status_pb2.CredentialsStatus(**fields)}


IN_USE = keys(in_use=True, version="3", since_unix_ns=1_500_000_000 * 10**9)
STALE = keys(
    in_use=True, version="3", since_unix_ns=1, reason="VaultAccessDenied", message="Vault denies reading the path"
)
UNWATCHED: Object = {
    "kill_switches_unwatched_since_unix_ns": 1_700_000_000 * 10**9,
    "kill_switches_problem": "[Errno 111] Connection refused",
}
CONDITIONS: dict[str, tuple[ObservedVenue, Settings, str, str, str, str]] = {
    "all is well: ready": (scene(), SETTINGS, "Ready", "True", "LoggedOn", "Venue sim-fx is logged on."),
    "all is well: session": (scene(), SETTINGS, "SessionEstablished", "True", "LoggedOn", "logged on"),
    "no key is wanted": (scene(), SETTINGS, "CredentialsReady", "True", "NotRequired", "wants no key"),
    "there is no Vault": (
        scene(KEYED),
        SETTINGS,
        "CredentialsReady",
        "False",
        "VaultNotConfigured",
        "set VAULT_ADDR of the operator (chart value vault.address)",
    ),
    "there is no Vault: not ready": (scene(KEYED, NEVER), SETTINGS, "Ready", "False", "VaultNotConfigured", "Vault"),
    "the gateway has not looked for the key": (
        scene(KEYED),
        WITH_VAULT,
        "CredentialsReady",
        "False",
        "WaitingForCredentials",
        "for role venue-sim of auth/kubernetes, bound to service account venue-sim-fx in namespace desk",
    ),
    "no key, and where to look": (
        scene(KEYED, NEVER),
        WITH_VAULT,
        "CredentialsReady",
        "False",
        "WaitingForCredentials",
        "kubectl logs deploy/venue-sim-fx -c vault-agent",
    ),
    "no key, because Vault is sealed": (
        scene(KEYED, gateway=keys(reason="VaultSealed", message="Vault at https://v:8200 is sealed: unseal it")),
        WITH_VAULT,
        "CredentialsReady",
        "False",
        "VaultSealed",
        "Vault at https://v:8200 is sealed: unseal it.",
    ),
    "no key: that comes before the session": (
        scene(KEYED, gateway=keys(reason="VaultLoginRefused", message="x")),
        WITH_VAULT,
        "Ready",
        "False",
        "VaultLoginRefused",
        "X.",
    ),
    "a reason that is no word": (
        scene(KEYED, gateway=keys(reason="what?", message="x")),
        WITH_VAULT,
        "CredentialsReady",
        "False",
        "GatewayBlocked",
        "X.",
    ),
    "the gateway has the key, and is not logged on": (
        scene(KEYED, gateway=keys() | REJECTED),
        WITH_VAULT,
        "CredentialsReady",
        "True",
        "Delivered",
        "its session says whether the venue takes them",
    ),
    "the venue refuses the key": (
        scene(KEYED, gateway=keys() | REJECTED),
        WITH_VAULT,
        "Ready",
        "False",
        "LogonRejected",
        "bad key",
    ),
    "the gateway uses the key": (
        scene(KEYED, gateway=IN_USE),
        WITH_VAULT,
        "CredentialsReady",
        "True",
        "Delivered",
        "uses version 3 of the venue's keys since 2017-07-14T02:40:00",
    ),
    "the gateway trades, and Vault denies a new key": (
        scene(KEYED, gateway=STALE),
        WITH_VAULT,
        "CredentialsStale",
        "True",
        "VaultAccessDenied",
        "Until then the gateway trades with the keys that it has",
    ),
    "the gateway cannot watch KillSwitches": (
        scene(gateway=UNWATCHED),
        SETTINGS,
        "KillSwitchesNotWatched",
        "True",
        "WatchBroken",
        "at the API server since 2023-11-14T22:13:20",
    ),
    "the gateway cannot watch KillSwitches: why": (
        scene(gateway=UNWATCHED),
        SETTINGS,
        "KillSwitchesNotWatched",
        "True",
        "WatchBroken",
        "[Errno 111] Connection refused. A KillSwitch reaches it by the bus and directly alone, and re-arming waits",
    ),
    "the gateway cannot watch KillSwitches: it trades": (
        scene(gateway=UNWATCHED),
        SETTINGS,
        "Ready",
        "True",
        "LoggedOn",
        "logged on",
    ),
    "the gateway trades, and Vault denies a new key: it has one": (
        scene(KEYED, gateway=STALE),
        WITH_VAULT,
        "CredentialsReady",
        "True",
        "Delivered",
        "uses version 3",
    ),
    "the gateway trades, and Vault denies a new key: ready": (
        scene(KEYED, gateway=STALE),
        WITH_VAULT,
        "Ready",
        "True",
        "LoggedOn",
        "logged on",
    ),
    "the keys come over plain http": (
        scene(KEYED, gateway=IN_USE),
        replace(WITH_VAULT, vault_address="https://a:8200, http://b:8200"),
        "VaultUnencrypted",
        "True",
        "PlainHttp",
        "write https:// in vault.address",
    ),
    "the Secret is missing": (
        scene(WITH_SECRET, NEVER),
        SETTINGS,
        "CredentialsReady",
        "False",
        "WaitingForCredentials",
        "They are in Secret sim-key of namespace desk, which needs: api-key, api-secret.",
    ),
    "the Secret is there": (
        scene(WITH_SECRET, gateway=keys(in_use=True)),
        SETTINGS,
        "CredentialsReady",
        "True",
        "Delivered",
        "uses the venue's keys",
    ),
    "a refused key": (scene(gateway=REJECTED), SETTINGS, "Ready", "False", "LogonRejected", "bad key"),
    "the gateway starts": (
        scene(view=NEVER, ready=0),
        SETTINGS,
        "SessionEstablished",
        "False",
        "Starting",
        "has not reported yet",
    ),
    "the gateway crashes and says nothing": (
        scene(view=NEVER, ready=0, pods=[CRASHING]),
        SETTINGS,
        "SessionEstablished",
        "False",
        "Crashing",
        "boom",
    ),
    "the gateway crashes, but its successor speaks": (
        scene(ready=0, pods=[CRASHING]),
        SETTINGS,
        "SessionEstablished",
        "True",
        "LoggedOn",
        "logged on",
    ),
    "the gateway is silent, and its pod looks well": (
        scene(view=SILENT),
        SETTINGS,
        "SessionEstablished",
        "Unknown",
        "GatewaySilent",
        "has stopped reporting",
    ),
    "the bus is down": (
        scene(bus_connected=False, bus_problem="refused"),
        SETTINGS,
        "Ready",
        "Unknown",
        "BusUnavailable",
        "refused",
    ),
    "a recording that ended is ready": (scene(gateway=ENDED), SETTINGS, "Ready", "True", "ReplayEnded", "has ended"),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_conditions(case: str) -> None:
    observed, settings, type_, status, reason, words = CONDITIONS[case]
    found = told(status_of(observed, settings=settings).conditions, ConditionType(type_))
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


def test_a_refused_child_is_told_in_the_words_of_the_api_server() -> None:
    status = status_of(
        scene(),
        refusal=REFUSAL,
    )
    for type_ in (ConditionType.READY, ConditionType.SESSION_ESTABLISHED):
        found = told(status.conditions, type_)
        assert (found.status, found.reason) == ("False", "RefusedByCluster")
        assert "exceeded quota" in found.message
    assert status.phase == "Pending"


def test_paused_is_a_condition_while_it_lasts() -> None:
    paused = status_of(scene(venue(annotations={PAUSED_ANNOTATION: "true"})))
    assert told(paused.conditions, ConditionType.PAUSED).reason == "ReconcilingPaused"
    assert all(item.type != "Paused" for item in status_of(scene()).conditions)


# --- phases

ORDERS = [account(open_orders=1)]
ANOTHER = {"config_revision": "another"}
PHASES: dict[str, tuple[ObservedVenue, str, str]] = {
    "is logged on": (scene(), "Starting", "Connected"),
    "is deleted": (scene(GONE), "Connected", "Stopping"),
    "waits for a Vault": (scene(KEYED, NEVER), "", "Pending"),
    "starts": (scene(view=NEVER, ready=0), "", "Starting"),
    "connects": (scene(gateway={"session": status_pb2.SESSION_STATE_CONNECTING}), "Starting", "Starting"),
    "has a refused key": (scene(gateway=REJECTED), "Starting", "Refused"),
    "was refused later": (scene(gateway=REJECTED), "Connected", "Refused"),
    "crashes from the start": (scene(view=NEVER, ready=0, pods=[CRASHING]), "", "Degraded"),
    "has lost its session": (
        scene(gateway={"session": status_pb2.SESSION_STATE_DISCONNECTED}),
        "Connected",
        "Degraded",
    ),
    "has never had a session": (scene(gateway={"session": status_pb2.SESSION_STATE_DISCONNECTED}), "", "Starting"),
    "fell silent": (scene(view=SILENT), "Connected", "Degraded"),
    "has played its recording": (scene(gateway=ENDED), "Connected", "Ended"),
    "is being suspended: the gateway has not heard of it": (scene(SUSPENDED, gateway=ANOTHER), "Connected", "Stopping"),
    "is being suspended: an order is open": (scene(SUSPENDED, accounts=ORDERS), "Connected", "Stopping"),
    "is being suspended: the gateway is silent": (scene(SUSPENDED, SILENT), "Connected", "Stopping"),
    "is suspended": (scene(SUSPENDED), "Stopping", "Suspended"),
    "is suspended and its limits change": (scene(SUSPENDED, gateway=ANOTHER), "Suspended", "Suspended"),
    "is suspended and an order came back": (scene(SUSPENDED, accounts=ORDERS), "Suspended", "Stopping"),
    "trades again": (scene(), "Suspended", "Connected"),
}


@pytest.mark.parametrize("case", PHASES)
def test_phases(case: str) -> None:
    observed, before, phase = PHASES[case]
    assert status_of(observed, VenueConnectionStatus.model_validate({"phase": before})).phase == phase


# --- figures

KNOWN = VenueConnectionStatus.model_validate(
    {
        "phase": "Connected",
        "session": {"state": "LoggedOn", "fencingToken": 4, "pod": "venue-sim-fx-old"},
        "journal": {"sequence": 812},
        "orders": {"sentTotal": 9},
        "positions": [{"symbol": "EUR-USD", "quantity": "187000"}],
        "configRevision": "abc",
    }
)


def test_the_session_and_the_counts_are_what_the_gateway_says() -> None:
    said = {
        "fencing_token": 5,
        "throttled_total": 3,
        "latency_p99_micros": 1905,
        "session_message": "hello",
    }
    two = [
        account(open_orders=1, sent_total=5, filled_total=3, rejected_total=1),
        account("other", open_orders=2, sent_total=7, filled_total=4, rejected_total=2),
    ]
    observed = scene(accounts=two, gateway=said)
    status = status_of(observed)
    assert status.session.to_api() == {
        "state": "LoggedOn",
        "since": "2023-11-14T22:13:20Z",
        "fencingToken": 5,
        "pod": "venue-sim-fx-0",
        "message": "hello",
    }
    assert status.orders.to_api() == {
        "open": 3,
        "sentTotal": 12,
        "filledTotal": 7,
        "rejectedTotal": 3,
        "throttledTotal": 3,
        "latencyP99Millis": "1.905",
    }
    assert status.config_revision == observed.config.revision


def test_before_the_first_order_there_is_no_latency() -> None:
    assert status_of(scene()).orders.latency_p99_millis is None
    assert status_of(scene(gateway={"latency_p99_micros": 2000})).orders.latency_p99_millis == "2"
    assert status_of(scene(gateway={"session_since_unix_ns": 0})).session.since is None


def test_a_gateway_that_was_never_heard_leaves_what_was_known() -> None:
    """The fencing token above all: whether a gateway ever worked decides whether deletion waits for it."""
    status = status_of(scene(view=NEVER), KNOWN)
    assert status.session.fencing_token == 4
    assert status.orders.sent_total == 9
    assert status.config_revision == "abc"


def test_the_session_of_a_gateway_that_fell_silent_is_unknown() -> None:
    status = status_of(scene(with_token(PLAIN), SILENT), KNOWN)
    assert (status.session.state, status.session.fencing_token) == ("", 4)


# --- deletion


def gone(view: GatewayView, resource: AnyVenue = GONE, **fields: Any) -> ObservedVenue:
    return scene(resource, view, **fields)


def confirming(accounts: Sequence[status_pb2.StrategyAccount] = (), **fields: Any) -> GatewayView:
    """The gateway enforces the halt."""
    return fresh(enforcing(GONE, [EMA], [limit()], accounts, **fields))


def with_token(resource: AnyVenue) -> AnyVenue:
    return resource.model_copy(update={"status": KNOWN})


HALTED = confirming().status
WITH_ORDER = confirming([account(open_orders=1)]).status
assert HALTED is not None
assert WITH_ORDER is not None
ENDS_TOO: Object = {
    "children": [],
    "gateway_deployments": frozenset(),
    "terminating": frozenset({GONE.namespace}),
}
"""Its namespace is being deleted, and the pod of its gateway has ended."""
WAITING: dict[str, ObservedVenue] = {
    "an order is open": gone(confirming([account(open_orders=1)])),
    "the gateway has not heard of it": gone(confirming(config_revision="another")),
    "the gateway that confirmed is silent now": gone(silent(HALTED)),
    "the gateway was not heard, but its pod is ready": gone(NEVER),
    "the gateway was not heard, but had a session once": gone(NEVER, with_token(GONE), ready=0),
    "the Deployment is gone, but the gateway speaks": gone(confirming([account(open_orders=1)]), children=[]),
    "the Deployment is gone, and is made again": gone(silent(HALTED), children=[], gateway_deployments=frozenset()),
    "its namespace ends, too, and the bus is down": gone(silent(HALTED), bus_connected=False, **ENDS_TOO),
}


@pytest.mark.parametrize("case", WAITING)
def test_deletion_waits_and_halts_the_gateway(case: str) -> None:
    planned = plan(WAITING[case], SETTINGS)
    assert planned.finalizer is None
    assert planned.requeue_after_seconds == 1.0
    assert not planned.delete_config
    assert planned.config is not None
    assert planned.config.halted_reason == "VenueDeleted"


def test_while_a_deletion_waits_the_gateway_stays_as_it_runs() -> None:
    runs = applied(plan(scene(), SETTINGS))
    observed = gone(confirming([account(open_orders=1)]), children=runs)
    planned = plan(observed, replace(SETTINGS, gateway_image="newer"))
    assert recorded(planned.apply) == last_applied.kept(observed.children), "nothing is rolled out"
    assert {item["kind"] for item in planned.apply} == {item["kind"] for item in runs}


def test_while_a_deletion_waits_what_of_the_gateway_is_gone_is_made_again() -> None:
    observed = gone(confirming([account(open_orders=1)]), children=[])
    assert plan(observed, SETTINGS).apply == plan(scene(children=[]), SETTINGS).apply


NOT_MADE_AGAIN: dict[str, tuple[AnyVenue, Object]] = {
    "its namespace is being deleted, too": (GONE, {"terminating": frozenset({GONE.namespace})}),
    "its children are left alone": (venue(annotations={PAUSED_ANNOTATION: "true"}, **deleting()), {}),
    "it cannot be read": (unreadable_venue(**deleting()), {}),
}


@pytest.mark.parametrize("case", NOT_MADE_AGAIN)
def test_what_is_not_made_again_while_a_deletion_waits(case: str) -> None:
    resource, around = NOT_MADE_AGAIN[case]
    observed = gone(confirming([account(open_orders=1)]), resource, children=[], **around)
    assert list(plan(observed, SETTINGS).apply) == []


LET_GO = venue(**{**deleting(), "finalizers": ["example.com/keep"]})


def test_a_venue_that_was_let_go_and_that_somebody_else_holds_gets_nothing_any_more() -> None:
    planned = plan(gone(confirming(config_revision=""), LET_GO), SETTINGS)
    assert (list(planned.apply), planned.config, planned.journal) == ([], None, False)


def test_one_that_was_never_held_is_halted_for_as_long_as_it_has_a_configuration() -> None:
    """As when an uninstallation has taken the finalizer away: none may be added to what is being deleted."""
    before = {LET_GO.name: plan(scene(), SETTINGS).config}
    planned = plan(gone(confirming([account(open_orders=1)]), LET_GO, children=[], on_the_bus=before), SETTINGS)
    assert planned.config is not None
    assert planned.config.halted_reason == "VenueDeleted"
    assert list(planned.apply) == [], "nobody would stop it in order"


def test_a_deletion_in_the_foreground_goes_on_in_the_background() -> None:
    foreground = {**deleting(), "finalizers": [FINALIZER, FOREGROUND_FINALIZER]}
    assert plan(gone(confirming([account(open_orders=1)]), venue(**foreground)), SETTINGS).background
    assert not plan(WAITING["an order is open"], SETTINGS).background


LATE = venue(**deleting(SETTINGS.stop_deadline_seconds))
FORCED = venue(annotations={FORCE_DELETE_ANNOTATION: "true"}, **deleting())
ENDS: dict[str, tuple[ObservedVenue, list[tuple[str, str]], str]] = {
    "the gateway has confirmed": (gone(confirming()), [("Normal", "Halted")], "no order is open"),
    "the gateway never worked": (gone(NEVER, ready=0), [], ""),
    "the Deployment and its gateway are gone": (
        gone(silent(HALTED), **ENDS_TOO),
        [("Normal", "Halted")],
        "the last that it reported is that no order is open",
    ),
    "the Deployment and its gateway are gone, with an order": (
        gone(silent(WITH_ORDER), **ENDS_TOO),
        [("Warning", "GatewayGone")],
        "Check account paper-1 at the venue.",
    ),
    "the Deployment is gone, and its gateway was never heard": (
        gone(NEVER, with_token(GONE), **ENDS_TOO),
        [("Warning", "GatewayGone")],
        "Check account paper-1 at the venue.",
    ),
    "the deadline": (
        gone(confirming([account(open_orders=1)]), LATE),
        [("Warning", "StopDeadlineExceeded")],
        "Check account paper-1 at the venue.",
    ),
    "the annotation": (
        gone(confirming([account(open_orders=1)]), FORCED),
        [("Warning", "ForceDeleted")],
        "was not asked whether its orders are cancelled",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_deletion_lets_go_and_takes_the_configuration_away(case: str) -> None:
    observed, events, words = ENDS[case]
    planned = plan(observed, SETTINGS)
    assert planned.finalizer is False
    assert planned.delete_config
    assert planned.config is None
    assert [(note.type, note.reason) for note in planned.notes] == events
    assert all(words in note.text for note in planned.notes)


def test_the_deadline_counts_from_the_deletion() -> None:
    early = venue(**deleting(SETTINGS.stop_deadline_seconds - 1))
    assert plan(gone(confirming([account(open_orders=1)]), early), SETTINGS).finalizer is None


def test_children_that_are_as_wanted_stay() -> None:
    """What was applied is planned again, word for word: the context then skips the writes."""
    planned = plan(scene(), SETTINGS)
    again = plan(scene(children=applied(planned)), SETTINGS)
    assert again.apply == planned.apply
    assert again.config == planned.config


# --- the record of the journal

RECORDED = with_token(PLAIN)
CLEARED = with_token(venue(annotations={CLEAR_HALT_ANNOTATION: "JournalBelowRecord@2"}))
HALT_TEXT = "the journal ends at event 0 of session 1; annotate the VenueConnection with ...=JournalBelowRecord@2"
BELOW = {"blocked_reason": "JournalBelowRecord", "blocked_message": HALT_TEXT, "fencing_token": 2, "pod": "new"}


def test_the_record_goes_out_with_the_configuration() -> None:
    planned = plan(scene(RECORDED), SETTINGS)
    assert planned.config is not None
    assert (planned.config.on_record.fencing_token, planned.config.on_record.sequence) == (4, 812)
    assert planned.config.on_record.pod == "venue-sim-fx-old"
    assert planned.journal


def test_the_record_rises_with_what_the_gateway_reports() -> None:
    status = status_of(scene(RECORDED, gateway={"fencing_token": 5, "journal_sequence": 900, "pod": "p5"}), KNOWN)
    assert (status.session.fencing_token, status.session.pod, status.journal.sequence) == (5, "p5", 900)


@pytest.mark.parametrize("said", [BELOW, {"fencing_token": 2}], ids=["it has halted", "it has not noticed yet"])
def test_a_gateway_below_its_record_is_halted_and_nothing_that_it_says_of_the_account_is_believed(said: Object) -> None:
    flat = [account(positions=[position("0")])]
    status = status_of(scene(RECORDED, accounts=flat, gateway={**said, "positions": []}), KNOWN)
    for type_, truth in ((ConditionType.HALTED, "True"), (ConditionType.READY, "False")):
        found = told(status.conditions, type_)
        assert (found.status, found.reason) == (truth, "JournalBelowRecord")
        assert (
            said.get("blocked_message", "event 1000 of session 2, but event 812 of session 4 is on record")
            in found.message
        )
    assert status.phase == "Halted"
    assert (status.session.fencing_token, status.session.pod) == (4, "venue-sim-fx-old")
    assert status.journal.sequence == 812
    assert [item.quantity for item in status.positions] == ["187000"]
    assert status.orders.sent_total == 9


def test_a_journal_that_ends_before_the_record_is_below_it_whatever_its_token() -> None:
    """A bus that comes back empty while there was one session only: the container starts again in its pod, as the
    first session of an empty journal."""
    status = status_of(scene(RECORDED, gateway={"fencing_token": 4, "journal_sequence": 811}), KNOWN)
    assert told(status.conditions, ConditionType.HALTED).reason == "JournalBelowRecord"
    assert (status.session.pod, status.journal.sequence) == ("venue-sim-fx-old", 812)
    assert [item.quantity for item in status.positions] == ["187000"]


def test_a_gateway_that_has_not_taken_its_journal_over_is_not_below_the_record() -> None:
    status = status_of(scene(RECORDED, gateway={"fencing_token": 0, "session": status_pb2.SESSION_STATE_CONNECTING}))
    assert all(item.type != "Halted" for item in status.conditions)


STILL_HALTED = {
    "the gateway does not have the annotation yet": {**BELOW, "config_revision": "another"},
    "the gateway has it, and is still halted": BELOW,
    "the gateway is not halted any more, by another configuration": {"fencing_token": 2, "config_revision": "other"},
}


@pytest.mark.parametrize("case", STILL_HALTED)
def test_the_record_stays_until_the_gateway_goes_on(case: str) -> None:
    status = status_of(scene(CLEARED, gateway=STILL_HALTED[case]), KNOWN)
    assert (status.session.fencing_token, status.journal.sequence) == (4, 812)
    assert told(status.conditions, ConditionType.HALTED).reason == "JournalBelowRecord"


def test_the_record_goes_down_once_a_person_has_cleared_the_halt_and_the_gateway_goes_on() -> None:
    goes_on = {"fencing_token": 2, "journal_sequence": 7, "pod": "new"}
    observed = scene(CLEARED, gateway=goes_on)
    assert list(observed.config.cleared_halts) == ["JournalBelowRecord@2"]
    status = status_of(observed, KNOWN)
    assert (status.session.fencing_token, status.session.pod, status.journal.sequence) == (2, "new", 7)
    assert all(item.type != "Halted" for item in status.conditions)
    assert not plan(observed, SETTINGS).halts_cleared, "the new record is not stored yet"
    stored = CLEARED.model_copy(update={"status": status})
    planned = plan(scene(stored, gateway=goes_on), SETTINGS)
    assert planned.halts_cleared
    assert [note.reason for note in planned.notes] == ["HaltCleared"]
    assert status_of(scene(stored, gateway=goes_on), status).positions == []


def test_the_annotation_stays_until_the_gateway_has_carried_it_out() -> None:
    other = with_token(venue(annotations={CLEAR_HALT_ANNOTATION: "PositionDifference@4"}))
    assert not plan(scene(other, gateway={"fencing_token": 4, "config_revision": "older"}), SETTINGS).halts_cleared
    assert plan(scene(other, gateway={"fencing_token": 4}), SETTINGS).halts_cleared
    assert not plan(scene(other, NEVER), SETTINGS).halts_cleared
    assert not plan(scene(RECORDED, gateway={"fencing_token": 4}), SETTINGS).halts_cleared


def test_a_breach_is_cleared_at_the_venue_when_its_limit_is_gone_and_it_is_said_which_was_not() -> None:
    here, gone = "maxDailyLoss/ema@sim-fx-7", "maxDrawdown/-@sim-fx-9"
    cleared = with_token(venue(annotations={CLEAR_HALT_ANNOTATION: f"{here}: please; {gone}: the limit is gone"}))
    still = [status_pb2.Breach(breach=here, risk_limit="fx-desk")]
    observed = scene(cleared, gateway={"fencing_token": 4, "breaches": still})
    planned = plan(observed, SETTINGS)
    assert planned.halts_cleared
    assert [(note.type, note.reason) for note in planned.notes] == [
        ("Normal", "HaltCleared"),
        ("Warning", "BreachNotCleared"),
    ]
    assert f"{gone} (the limit is gone)" in planned.notes[0].text
    assert here not in planned.notes[0].text
    assert f"kubectl annotate risklimit fx-desk 'trading.crowetrade.io/clear-breach={here}: REASON'" in (
        planned.notes[1].text
    )


# --- halts

HALTS: dict[str, tuple[ObservedVenue, str, str]] = {
    "in the words of the gateway": (
        scene(gateway={"blocked_reason": "PositionDifference", "blocked_message": "venue 5, books 7; annotate ..."}),
        "PositionDifference",
        "venue 5, books 7; annotate ...",
    ),
    "for a reason that is no word": (
        scene(gateway={"blocked_reason": "what is this?", "blocked_message": "odd"}),
        "GatewayBlocked",
        "odd",
    ),
    "a limit that cannot be read, before the gateway has heard of it": (
        scene(unreadable_limits=["odd"]),
        "LimitUnreadable",
        "RiskLimit odd does not match",
    ),
}


@pytest.mark.parametrize("case", HALTS)
def test_a_halt_is_a_condition(case: str) -> None:
    observed, reason, words = HALTS[case]
    status = status_of(observed)
    found = told(status.conditions, ConditionType.HALTED)
    assert (found.status, found.reason) == ("True", reason)
    assert words in found.message
    assert (told(status.conditions, ConditionType.READY).status, status.phase) == ("False", "Halted")


def test_suspended_is_halted_as_wished_and_ready() -> None:
    status = status_of(scene(SUSPENDED), VenueConnectionStatus.model_validate({"phase": "Suspended"}))
    assert told(status.conditions, ConditionType.HALTED).reason == "VenueSuspended"
    assert (told(status.conditions, ConditionType.READY).status, status.phase) == ("True", "Suspended")


def test_what_is_too_large_to_be_put_is_halted_and_says_so() -> None:
    many = [strategy(strategy_manifest(f"{'s' * 30}-{number}")) for number in range(1000)]
    limits = {name: limit(limit_manifest(name)) for name in (f"limit-{number}" for number in range(30))}
    observed = scene(view=NEVER, traders=many)
    observed = replace(observed, around=replace(observed.around, limits=limits, compiled=defaultdict(Kept)))
    config = plan(observed, SETTINGS).config
    assert config is not None
    assert config.ByteSize() < 2000
    found = told(status_of(observed).conditions, ConditionType.HALTED)
    assert found.reason == "ConfigurationTooLarge"
    assert "1000 strategies and 30 RiskLimits" in found.message


def test_a_venue_that_cannot_be_read_stays_halted_and_keeps_its_children_and_its_record() -> None:
    observed = scene(with_token(unreadable_venue()), gateway={"fencing_token": 4})
    planned = plan(observed, SETTINGS)
    assert (list(planned.apply), list(planned.delete), planned.delete_config) == ([], [], False)
    assert planned.config is not None
    assert planned.config.halted_reason == "VenueUnreadable"
    assert [item.strategy for item in planned.config.strategies] == ["ema"]
    assert planned.config.on_record.fencing_token == 4
    status = status_of(observed, KNOWN)
    assert status.phase == "Halted"
    assert "spec.type" in told(status.conditions, ConditionType.READY).message
    assert status.session.fencing_token == 4


def test_a_venue_that_cannot_be_read_is_deleted_like_any_other() -> None:
    odd = unreadable_venue(**deleting())
    waits = scene(odd, accounts=[account(open_orders=1)])
    assert plan(waits, SETTINGS).finalizer is None
    assert plan(scene(odd), SETTINGS).finalizer is False
    forced = unreadable_venue(annotations={FORCE_DELETE_ANNOTATION: "true"}, **deleting())
    assert plan(scene(forced, accounts=[account(open_orders=1)]), SETTINGS).finalizer is False


def test_a_market_in_lock_step_names_whom_it_waits_for() -> None:
    waits = {"waiting_for": ["ema", "slow"]}
    missing = scene(accounts=[account(connected=False), account("slow")], gateway=waits)
    found = told(status_of(missing).conditions, ConditionType.READY)
    assert (found.status, found.reason) == ("True", "WaitingForStrategies")
    assert "its market waits for ema, which has no session" in found.message
    thinking = scene(accounts=[account(), account("slow")], gateway=waits)
    assert told(status_of(thinking).conditions, ConditionType.READY).reason == "LoggedOn"


def held(quantity: str, symbol: str = "EUR-USD", unattributed: str = "0") -> status_pb2.AccountPosition:
    instrument = instrument_pb2.InstrumentId(venue="sim-fx", symbol=symbol)
    return status_pb2.AccountPosition(instrument=instrument, quantity=quantity, unattributed=unattributed)


def test_positions_are_the_accounts_with_what_nobody_owns_any_more() -> None:
    said = {"positions": [held("5", "Z"), held("187000", unattributed="40000"), held("1." + "3" * 80, "A")]}
    assert [item.to_api() for item in status_of(scene(gateway=said)).positions] == [
        {"symbol": "A", "quantity": "1." + "3" * 62, "unattributed": "0"},
        {"symbol": "EUR-USD", "quantity": "187000", "unattributed": "40000"},
        {"symbol": "Z", "quantity": "5", "unattributed": "0"},
    ]


def test_counts_of_any_size_fit() -> None:
    status = status_of(scene(gateway={"throttled_total": 2**64 - 1, "fencing_token": 2**64 - 1}))
    assert (status.orders.throttled_total, status.session.fencing_token) == (2**63 - 1, 2**63 - 1)


# --- deleted together with its strategies


def flattening(name: str = "ema", **metadata: Any) -> AnyStrategy:
    return strategy(change(strategy_manifest(name), "spec.deletionPolicy", "Flatten"), **metadata)


def cascade(trader: AnyStrategy, own: status_pb2.StrategyAccount, seconds: float = 1.0) -> ObservedVenue:
    """A venue that was deleted so long ago, without an open order, and one strategy there."""
    return scene(venue(**deleting(seconds)), traders=[trader], accounts=[own])


HOLDS = account(positions=[position("-91000")])
STAYS: dict[str, ObservedVenue] = {
    "a strategy that is deleted and still closes": cascade(flattening(**deleting()), HOLDS),
    "the same shortly before the deadline": cascade(
        flattening(**deleting()), HOLDS, SETTINGS.stop_deadline_seconds - 1
    ),
    "a strategy that has stopped and not told it yet": cascade(flattening(**deleting()), account(stopped=True)),
    "a strategy with a position that is deleted a moment later": cascade(flattening(), HOLDS),
}
GOES: dict[str, ObservedVenue] = {
    "the strategy has stopped, and only another finalizer holds it": cascade(
        flattening(**{**deleting(), "finalizers": ["example.com/keep"]}), account(stopped=True)
    ),
    "it does not flatten": cascade(strategy(**deleting()), HOLDS),
    "nobody deletes the strategy": cascade(flattening(), HOLDS, CASCADE_SECONDS),
    "the strategy is flat": cascade(flattening(), account(positions=[position("0")])),
    "the deadline": cascade(flattening(**deleting()), HOLDS, SETTINGS.stop_deadline_seconds),
}


@pytest.mark.parametrize("case", STAYS)
def test_a_venue_stays_open_for_strategies_that_close_their_positions(case: str) -> None:
    planned = plan(STAYS[case], SETTINGS)
    assert planned.finalizer is None
    assert planned.config is not None
    assert planned.config.halted_reason == "VenueDeleted"


@pytest.mark.parametrize("case", GOES)
def test_a_venue_goes_when_nothing_is_left_to_close(case: str) -> None:
    assert plan(GOES[case], SETTINGS).finalizer is False


def test_what_the_account_still_holds_is_named() -> None:
    left = gone(confirming(positions=[held("187000")]))
    (note,) = plan(left, SETTINGS).notes
    assert (note.type, note.reason) == ("Warning", "PositionLeft")
    assert "The account holds 187000 EUR-USD." in note.text
    late = cascade(flattening(**deleting()), HOLDS, SETTINGS.stop_deadline_seconds)
    assert "that ema has closed its positions" in plan(late, SETTINGS).notes[0].text


@pytest.mark.parametrize("fields", [{"watches_kill_switches": True}, {}], ids=["it watches", "an older gateway"])
def test_a_gateway_that_does_not_say_that_its_watch_is_broken_has_no_such_condition(fields: Object) -> None:
    types = [item.type for item in status_of(scene(gateway=fields)).conditions]
    assert ConditionType.KILL_SWITCHES_NOT_WATCHED not in types
