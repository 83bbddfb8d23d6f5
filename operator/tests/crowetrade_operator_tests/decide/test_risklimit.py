"""A RiskLimit's status: where it is in force, and how much of it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.conditions import ConditionType, find
from crowetrade_api.names import CLEAR_BREACH_ANNOTATION, PAUSED_ANNOTATION
from crowetrade_api.v1alpha1.risklimit import SHOWN_BREACHES, RiskLimit, RiskLimitStatus
from crowetrade_operator.decide.observed import GatewayView
from crowetrade_operator.decide.risklimit import Observed, plan, venue_of
from crowetrade_operator.decide.risklimit_status import notes, report
from crowetrade_operator_tests.decide.scenes import (
    NEVER,
    NOW,
    enforcing,
    fresh,
    namespace_view,
    silent,
    told,
    two_venues,
)
from crowetrade_operator_tests.samples import (
    change,
    gateway_status,
    limit,
    limit_manifest,
    strategy,
    strategy_manifest,
    venue,
    venue_manifest,
)

Object = dict[str, Any]
EMA = strategy()
BOTH = strategy(two_venues())
HERE = venue()
THERE = venue(venue_manifest("sim-b"))
OBSERVED_ONLY = limit(change(limit_manifest(), "spec.enforcement", "Observe"))
OF_OTHERS = limit(change(limit_manifest(), "spec.scope.strategySelector", {"matchLabels": {"desk": "rates"}}))


def scene(resource: RiskLimit | None = None, view: GatewayView | None = None, **around: Any) -> Observed:
    """A limit that binds one strategy at one venue, whose gateway enforces it unless another view is given."""
    one = resource or limit()
    said = view or fresh(enforcing(HERE, [EMA], [one]))
    return Observed(one, namespace_view([EMA], limits=[one], gateways={"sim-fx": said}, **around), NOW)


def status_of(observed: Observed) -> RiskLimitStatus:
    return report(observed, RiskLimitStatus())


CONDITIONS: dict[str, tuple[Observed, str, str, str, str]] = {
    "in force: ready": (scene(), "Ready", "True", "Acknowledged", "In force at sim-fx."),
    "in force: enforced": (scene(), "Enforced", "True", "Acknowledged", "In force at sim-fx."),
    "only observed: ready": (scene(OBSERVED_ONLY), "Ready", "True", "Acknowledged", "In force at sim-fx."),
    "only observed: not enforced": (
        scene(OBSERVED_ONLY),
        "Enforced",
        "False",
        "ObserveOnly",
        "breaches are counted and logged, orders pass",
    ),
    "selects nobody: ready for the first one": (
        scene(OF_OTHERS),
        "Ready",
        "True",
        "NothingInScope",
        "in force for the first one that it selects",
    ),
    "selects nobody: nothing is enforced": (scene(OF_OTHERS), "Enforced", "False", "NothingInScope", "no strategy"),
    "selects nobody, and the bus is down": (
        scene(OF_OTHERS, bus_connected=False),
        "Ready",
        "True",
        "NothingInScope",
        "no strategy",
    ),
    "an older version is in force": (
        scene(limit(generation=2), fresh(enforcing(HERE, [EMA], [limit(generation=1)]))),
        "Ready",
        "False",
        "WaitingForGateway",
        "Waiting for the gateways of sim-fx to confirm this version.",
    ),
    "an older version is in force: not enforced": (
        scene(limit(generation=2), fresh(enforcing(HERE, [EMA], [limit(generation=1)]))),
        "Enforced",
        "False",
        "WaitingForGateway",
        "sim-fx",
    ),
    "the gateway is silent": (
        scene(view=silent(enforcing(HERE, [EMA], [limit()]))),
        "Enforced",
        "False",
        "WaitingForGateway",
        "sim-fx",
    ),
    "the gateway was never heard": (scene(view=NEVER), "Enforced", "False", "WaitingForGateway", "sim-fx"),
    "the bus is down: ready": (
        scene(bus_connected=False, bus_problem="refused"),
        "Ready",
        "Unknown",
        "BusUnavailable",
        "refused",
    ),
    "the bus is down: enforced": (
        scene(bus_connected=False, bus_problem="refused"),
        "Enforced",
        "Unknown",
        "BusUnavailable",
        "refused",
    ),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_conditions(case: str) -> None:
    observed, type_, status, reason, words = CONDITIONS[case]
    found = told(status_of(observed).conditions, ConditionType(type_))
    assert (found.status, found.reason) == (status, reason)
    assert words in found.message


def refusing(problem: str) -> GatewayView:
    """A gateway that has received the rule and cannot enforce it."""
    said = enforcing(HERE, [EMA], [limit()])
    said.risk_acknowledgements[0].problem = problem
    return fresh(said)


def test_a_limit_that_a_gateway_does_not_know_is_not_enforced_in_its_words() -> None:
    status = status_of(scene(view=refusing("RiskLimit fx-desk sets maxVega, which this gateway does not know")))
    for type_ in (ConditionType.READY, ConditionType.ENFORCED):
        found = told(status.conditions, type_)
        assert (found.status, found.reason) == ("False", "LimitUnknown")
        assert "sets maxVega, which this gateway does not know" in found.message
    assert (status.gateways.summary, status.pending) == ("0/1", ["sim-fx"])


OTHERS = {
    "made again under its name": limit(uid="another"),
    "with other values under the same generation": limit(
        change(limit_manifest(), "spec.limits.maxOrderQuantity", "999")
    ),
    "for another strategy": limit(change(limit_manifest(), "spec.aggregate", "PerStrategy")),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_was_confirmed_before_counts_for_nothing_else(case: str) -> None:
    """Deleted and made again, or edited: the name and the generation are the same, what is in force is not."""
    status = status_of(scene(OTHERS[case], fresh(enforcing(HERE, [EMA], [limit()]))))
    found = told(status.conditions, ConditionType.ENFORCED)
    assert (found.status, found.reason) == ("False", "WaitingForGateway")


def test_numbers_of_any_length_fit() -> None:
    status = using(use("1" + "0" * 79, "1" + "0" * 79 + ".5"))
    assert all(len(item.used) <= 64 and len(item.limit) <= 64 for item in status.utilisation)
    assert [item.ratio for item in status.utilisation] == ["1"]


def test_paused_is_a_condition_while_it_lasts() -> None:
    paused = status_of(scene(limit(annotations={PAUSED_ANNOTATION: "true"})))
    assert [item.type for item in paused.conditions] == ["Ready", "Enforced", "Paused", "Reconciling"]
    assert [item.type for item in status_of(scene()).conditions] == ["Ready", "Enforced", "Reconciling"]


def at_both(there: GatewayView) -> Observed:
    views = {"sim-fx": fresh(enforcing(HERE, [BOTH], [limit()], beside=[THERE])), "sim-b": there}
    return Observed(limit(), namespace_view([BOTH], venues=[HERE, THERE], gateways=views), NOW)


def test_each_gateway_that_it_concerns_counts() -> None:
    waiting = status_of(at_both(NEVER))
    assert waiting.gateways.to_api() == {"acknowledged": 1, "concerned": 2, "summary": "1/2"}
    assert waiting.pending == ["sim-b"]
    done = status_of(at_both(fresh(enforcing(THERE, [BOTH], [limit()], beside=[HERE]))))
    assert done.gateways.summary == "2/2"
    assert done.pending == []
    assert told(done.conditions, ConditionType.ENFORCED).message == "In force at sim-b, sim-fx."


@pytest.mark.parametrize(
    ("aggregate", "said"),
    [
        (
            "Total",
            " maxConsecutiveRejects is divided evenly: each of 2 gateways admits 2 of 5 in a row. maxOrderToTradeRatio "
            "holds at each of 2 gateways, and so for all together.",
        ),
        ("PerStrategy", ""),
    ],
)
def test_what_of_a_total_limit_has_a_fixed_part_at_each_gateway_is_said(aggregate: str, said: str) -> None:
    manifest = change(limit_manifest(), "spec.limits", {"maxConsecutiveRejects": 5, "maxOrderToTradeRatio": "50"})
    one = limit(change(manifest, "spec.aggregate", aggregate))
    views = {
        "sim-fx": fresh(enforcing(HERE, [BOTH], [one], beside=[THERE])),
        "sim-b": fresh(enforcing(THERE, [BOTH], [one], beside=[HERE])),
    }
    around = namespace_view([BOTH], venues=[HERE, THERE], limits=[one], gateways=views)
    enforced = told(status_of(Observed(one, around, NOW)).conditions, ConditionType.ENFORCED)
    assert enforced.message == f"In force at sim-b, sim-fx.{said}"


def test_only_its_own_rule_counts() -> None:
    """Another limit that is not in force, and comes first by its name, does not make this one wait."""
    other = limit(limit_manifest("a-limit"))
    said = fresh(enforcing(HERE, [EMA], [limit()]))
    around = namespace_view([EMA], limits=[other, limit()], gateways={"sim-fx": said})
    assert status_of(Observed(limit(), around, NOW)).gateways.summary == "1/1"
    assert status_of(Observed(other, around, NOW)).gateways.summary == "0/1"
    nobody = namespace_view([EMA], limits=[other, OF_OTHERS])
    assert status_of(Observed(OF_OTHERS, nobody, NOW)).gateways.concerned == 0


def test_a_venue_that_it_does_not_select_does_not_count() -> None:
    here = limit(change(limit_manifest(), "spec.scope.venueSelector", {"matchLabels": {"region": "eu"}}))
    marked = venue(venue_manifest(labels={"region": "eu"}))
    around = namespace_view([BOTH], venues=[marked, THERE], limits=[here])
    assert status_of(Observed(here, around, NOW)).gateways.concerned == 1


def test_at_most_sixteen_venues_are_named() -> None:
    numbers = [f"v{number:02}" for number in range(20)]
    venues = [venue(venue_manifest(name)) for name in numbers]
    strategies = [
        strategy(change(strategy_manifest(name), "spec.instruments.0.venueRef.name", name)) for name in numbers
    ]
    status = status_of(Observed(limit(), namespace_view(strategies, venues=venues, gateways={}), NOW))
    assert status.gateways.summary == "0/20"
    assert status.pending == numbers[:16]


# --- utilisation


def use(
    used: str, allowed: str, limit_name: str = "maxPositionQuantity", key: str = "ema/EUR-USD", of: str = "fx-desk"
) -> status_pb2.Utilisation:
    return status_pb2.Utilisation(risk_limit=of, limit=limit_name, key=key, used=used, allowed=allowed)


def using(*items: status_pb2.Utilisation) -> RiskLimitStatus:
    return status_of(scene(view=fresh(enforcing(HERE, [EMA], [limit()], utilisation=list(items)))))


def test_the_most_used_comes_first_and_stands_in_the_column() -> None:
    status = using(
        use("100000", "500000"),
        use("18", "20", "maxOrderRate", ""),
        use("50000", "200000", "maxOrderQuantity", "ema"),
    )
    assert [(item.name, item.key, item.ratio) for item in status.utilisation] == [
        ("maxOrderRate", "-", "0.9"),
        ("maxOrderQuantity", "ema", "0.25"),
        ("maxPositionQuantity", "ema/EUR-USD", "0.2"),
    ]
    assert status.utilisation[0].to_api() == {
        "name": "maxOrderRate",
        "venue": "sim-fx",
        "key": "-",
        "used": "18",
        "limit": "20",
        "ratio": "0.9",
        "share": "",
    }
    assert status.summary.utilisation == "maxOrderRate 90%"


def test_equal_use_is_ordered_by_name_so_that_the_status_does_not_flap() -> None:
    items = [use("1", "2", "b", "x"), use("1", "2", "a", "y"), use("1", "2", "a", "x")]
    expected = [("a", "x"), ("a", "y"), ("b", "x")]
    for order in (items, items[::-1]):
        assert [(item.name, item.key) for item in using(*order).utilisation] == expected


def test_only_the_ten_highest_are_kept() -> None:
    status = using(*(use(str(number), "100", key=f"s{number}/EUR-USD") for number in range(30)))
    assert [item.used for item in status.utilisation] == [str(number) for number in range(29, 19, -1)]


def test_the_same_limit_and_key_stand_there_once() -> None:
    """The status is a map by name, venue and key: the API server refuses it with a key twice."""
    long = "s" * 200
    status = using(use("1", "10", key=long + "a"), use("2", "10", key=long + "b"))
    assert [(item.used, len(item.key)) for item in status.utilisation] == [("2", 192)]


WITHOUT_RATIO = {
    "it is no number": use("many", "10"),
    "the limit is no number": use("1", ""),
    "it is not a number": use("NaN", "10"),
    "it is endless": use("Infinity", "10"),
    "it has an exponent": use("1e20", "1"),
    "it is another limit's": use("1", "10", of="other"),
}


@pytest.mark.parametrize("case", WITHOUT_RATIO)
def test_what_cannot_be_compared_is_left_out(case: str) -> None:
    status = using(WITHOUT_RATIO[case], use("1", "4", key="other/EUR-USD"))
    assert [item.ratio for item in status.utilisation] == ["0.25"]


@pytest.mark.parametrize("key", ["a/EUR-USD", "z/EUR-USD"])
def test_use_of_a_limit_that_admits_nothing_comes_first(key: str) -> None:
    """As of a share of 0, or one that is not known, with positions held."""
    status = using(use("9", "1", key="m/EUR-USD"), use("5000", "0", key=key), use("0", "0", key="b/EUR-USD"))
    assert [(item.key, item.used, item.limit, item.ratio) for item in status.utilisation] == [
        (key, "5000", "0", "1000000"),
        ("m/EUR-USD", "9", "1", "9"),
        ("b/EUR-USD", "0", "0", "0"),
    ]
    assert status.summary.utilisation == "maxPositionQuantity 5000 of 0"


def test_a_ratio_beyond_all_measure_is_cut() -> None:
    assert [item.ratio for item in using(use("9" * 60, "1")).utilisation] == ["1000000"]


def test_without_use_the_column_is_empty() -> None:
    assert using().summary.utilisation == ""
    assert (
        status_of(scene(view=silent(enforcing(HERE, [EMA], [limit()], utilisation=[use("1", "2")])))).utilisation == []
    )


def test_a_breach_shows_more_than_all() -> None:
    assert using(use("-750000", "500000")).summary.utilisation == "maxPositionQuantity -150%"
    assert using(use("750001", "500000")).summary.utilisation == "maxPositionQuantity 150%"


# --- scope

REQUIREMENTS: Sequence[Object] = [
    {"key": "tier", "operator": "In", "values": ["a", "b"]},
    {"key": "frozen", "operator": "DoesNotExist"},
]
SCOPES: dict[str, tuple[Object, str]] = {
    "everything": ({}, "all"),
    "labels": ({"strategySelector": {"matchLabels": {"desk": "fx", "area": "eu"}}}, "strategies area=eu,desk=fx"),
    "requirements": (
        {"venueSelector": {"matchExpressions": REQUIREMENTS}},
        "venues tier In (a,b),frozen DoesNotExist",
    ),
    "all three": (
        {
            "strategySelector": {"matchLabels": {"desk": "fx"}},
            "venueSelector": {"matchLabels": {"region": "eu"}},
            "instruments": ["EUR-USD", "GBP-USD"],
        },
        "strategies desk=fx; venues region=eu; instruments EUR-USD,GBP-USD",
    ),
}


@pytest.mark.parametrize("case", SCOPES)
def test_the_scope_in_words(case: str) -> None:
    scope, words = SCOPES[case]
    assert status_of(scene(limit(change(limit_manifest(), "spec.scope", scope)))).summary.scope == words


def test_a_scope_that_does_not_fit_its_column_is_cut() -> None:
    many = [f"SYMBOL-{number:03}" for number in range(60)]
    scope = status_of(scene(limit(change(limit_manifest(), "spec.scope.instruments", many)))).summary.scope
    assert len(scope) == 256
    assert scope.endswith("...")


# --- shares, warnings and breaches


def test_the_share_of_a_split_limit_stands_beside_its_use() -> None:
    split = use("10", "30", "maxOpenOrders", "")
    split.share, split.total = "0.6", "50"
    odd = use("10", "40", "maxGrossNotional", "")
    odd.share = "most"
    assert [(item.name, item.share) for item in using(split, odd).utilisation] == [
        ("maxOpenOrders", "0.6"),
        ("maxGrossNotional", ""),
    ]


def test_a_warning_comes_at_warn_at_and_goes_well_below_it() -> None:
    previous, seen = RiskLimitStatus(), []
    for used in ("69", "70", "66", "63", "62", "69"):
        view = fresh(enforcing(HERE, [EMA], [limit()], utilisation=[use(used, "100")]))
        previous = report(scene(view=view), previous)
        seen.append(find(previous.conditions, ConditionType.WARNING))
    assert [item is not None for item in seen] == [False, True, True, True, False, False]
    assert seen[1] is not None
    assert seen[1].reason == "NearLimit"
    words = "maxPositionQuantity at venue sim-fx for ema/EUR-USD is used above spec.warnAt, which is 70% of the limit"
    assert words in seen[1].message


def breach(identity: str = "maxDailyLoss/ema@sim-fx-7", **fields: Any) -> status_pb2.Breach:
    defaults: Object = {
        "breach": identity,
        "risk_limit": "fx-desk",
        "limit": "maxDailyLoss",
        "subject": "ema",
        "action": "Block",
        "text": "lost 21000 of 20000 USD",
        "since_unix_ns": 1_767_607_000_000_000_000,
        "enforced": True,
    }
    return status_pb2.Breach(**(defaults | fields))


def having(*items: status_pb2.Breach, of: RiskLimit | None = None, **fields: Any) -> GatewayView:
    """A gateway that enforces the limit and has these breaches."""
    return fresh(enforcing(HERE, [EMA], [of or limit()], breaches=list(items), **fields))


def test_a_breach_is_listed_until_it_is_cleared_and_says_how() -> None:
    status = status_of(scene(view=having(breach())))
    assert [item.to_api() for item in status.breached] == [
        {
            "id": "maxDailyLoss/ema@sim-fx-7",
            "limit": "maxDailyLoss",
            "strategy": "ema",
            "venue": "sim-fx",
            "action": "Block",
            "since": "2026-01-05T09:56:40Z",
            "message": "lost 21000 of 20000 USD",
        }
    ]
    found = told(status.conditions, ConditionType.BREACHED)
    assert (found.status, found.reason) == ("True", "LimitBreached")
    assert "clear-breach=maxDailyLoss/ema@sim-fx-7: REASON" in found.message
    after = report(scene(view=having()), status)
    assert after.breached == []
    assert find(after.conditions, ConditionType.BREACHED) is None


def test_a_breach_of_a_rule_that_only_observes_says_so() -> None:
    status = status_of(scene(view=having(breach(enforced=False))))
    assert status.breached[0].action == "Observe"


def test_breaches_of_other_limits_are_theirs() -> None:
    assert status_of(scene(view=having(breach(risk_limit="other")))).breached == []


UNKNOWN = {"was not heard yet": (NEVER, True), "is silent": (silent(gateway_status(breaches=[breach()])), True)}


@pytest.mark.parametrize("case", UNKNOWN)
def test_a_breach_stays_when_the_gateway(case: str) -> None:
    view, stays = UNKNOWN[case]
    before = status_of(scene(view=having(breach())))
    assert bool(report(scene(view=view), before).breached) is stays


def test_a_breach_stays_where_the_limit_no_longer_binds() -> None:
    view = having(breach(), of=OF_OTHERS)
    assert status_of(scene(OF_OTHERS, view)).breached


def test_the_breaches_of_a_venue_that_is_gone_go_with_it() -> None:
    before = status_of(scene(view=having(breach())))
    observed = Observed(limit(), namespace_view([EMA], venues=[], gateways={}), NOW)
    assert report(observed, before).breached == []


def test_each_breach_is_told_about_once() -> None:
    first = status_of(scene(view=having(breach())))
    second = report(scene(view=having(breach(), breach("maxDrawdown/-@sim-fx-9", subject=""))), first)
    assert [note.reason for note in notes(RiskLimitStatus(), first, limit())] == ["LimitBreached"]
    (note,) = notes(first, second, limit())
    assert note.type == "Warning"
    assert "maxDrawdown/-@sim-fx-9: REASON" in note.text
    assert notes(second, second, limit()) == []


CLEARING = limit(annotations={CLEAR_BREACH_ANNOTATION: "maxDailyLoss/ema@sim-fx-7: the feed was wrong"})
ELSEWHERE = limit(annotations={CLEAR_BREACH_ANNOTATION: "maxDailyLoss/ema@gone-7: the venue is gone"})
ANNOTATED: dict[str, tuple[Observed, bool]] = {
    "it is gone": (scene(CLEARING, having(of=CLEARING)), True),
    "another is left": (scene(CLEARING, having(breach("maxDailyLoss/ema@sim-fx-9"), of=CLEARING)), True),
    "another RiskLimit has one of this name": (scene(CLEARING, having(breach(risk_limit="other"), of=CLEARING)), True),
    "it is still there": (scene(CLEARING, having(breach(), of=CLEARING)), False),
    "the gateway has another configuration": (scene(CLEARING, having(of=CLEARING, config_revision="old")), False),
    "the gateway is silent": (scene(CLEARING, NEVER), False),
    "its venue is gone": (scene(ELSEWHERE, having(of=ELSEWHERE)), True),
    "nothing is to be cleared": (scene(view=having()), False),
}


[LISTED] = status_of(scene(view=having(breach()))).breached


def test_a_breach_that_a_person_has_cleared_is_listed_until_that_is_told() -> None:
    before = status_of(scene(view=having(breach())))
    after = report(scene(CLEARING, having(of=CLEARING)), before)
    assert [item.id for item in after.breached] == ["maxDailyLoss/ema@sim-fx-7"]
    assert [note.reason for note in plan(scene(CLEARING, having(of=CLEARING)), after).notes] == ["BreachCleared"]
    assert report(scene(view=having()), after).breached == []


@pytest.mark.parametrize("name", ["maxDailyLoss/ema@sim-fx-8", "maxDailyLoss/ema@gone-7", "nonsense"])
def test_a_name_that_was_no_breach_is_told_as_unknown(name: str) -> None:
    both = limit(annotations={CLEAR_BREACH_ANNOTATION: f"{LISTED.id}: the feed was wrong; {name}: a guess"})
    alone = limit(annotations={CLEAR_BREACH_ANNOTATION: f"{name}: a guess"})
    status = RiskLimitStatus(breached=[LISTED])

    first, second = plan(scene(both, having(of=both)), status).notes
    planned = plan(scene(alone, having(breach(), of=alone)), status)

    assert (first.reason, second.reason) == ("BreachCleared", "BreachUnknown")
    assert name not in first.text
    assert planned.breaches_cleared
    [note] = planned.notes
    assert (note.type, note.reason) == ("Warning", "BreachUnknown")
    assert (
        f"No breach of RiskLimit fx-desk is known by these names, so none was cleared: {name}. status.breached lists "
        f"those that there are: {LISTED.id}"
    ) in note.text


def test_a_breach_of_another_risk_limit_is_told_as_unknown() -> None:
    """Its gateway does not clear it here, so the annotation would stay."""
    observed = scene(CLEARING, having(breach(risk_limit="other"), of=CLEARING))
    planned = plan(observed, RiskLimitStatus())
    assert planned.breaches_cleared
    [note] = planned.notes
    assert (note.type, note.reason) == ("Warning", "BreachUnknown")
    assert f"No breach of RiskLimit fx-desk is known by these names, so none was cleared: {LISTED.id}" in note.text


def test_of_a_breach_that_a_full_status_does_not_list_nobody_says_that_it_was_none() -> None:
    """A status lists sixteen; the gateways have confirmed that this one is breached no more."""
    listed = [LISTED.model_copy(update={"id": f"maxDailyLoss/s{number}@sim-fx-7"}) for number in range(SHOWN_BREACHES)]
    [note] = plan(scene(CLEARING, having(of=CLEARING)), RiskLimitStatus(breached=listed)).notes
    assert (note.reason, "maxDailyLoss/ema@sim-fx-7: the feed was wrong" in note.text) == ("BreachCleared", True)


@pytest.mark.parametrize("case", ANNOTATED)
def test_the_annotation_is_taken_away_when(case: str) -> None:
    observed, done = ANNOTATED[case]
    elsewhere = LISTED.model_copy(update={"id": "maxDailyLoss/ema@gone-7", "venue": "gone"})
    planned = plan(observed, RiskLimitStatus(breached=[LISTED, elsewhere]))
    assert planned.breaches_cleared is done
    assert [note.reason for note in planned.notes] == (["BreachCleared"] if done else [])
    if done:
        assert next(iter(observed.limit.cleared_breaches.values())) in planned.notes[0].text


@pytest.mark.parametrize(
    ("breach_id", "venue_name"),
    [("maxDailyLoss/ema@sim-fx-7", "sim-fx"), ("maxDrawdown/-@a-b-c-12", "a-b-c"), ("nonsense", "")],
)
def test_the_name_of_a_breach_says_its_venue(breach_id: str, venue_name: str) -> None:
    assert venue_of(breach_id) == venue_name
