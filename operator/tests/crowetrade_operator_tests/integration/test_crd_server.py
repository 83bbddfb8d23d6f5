"""What a real API server makes of the CRDs: each rule is obeyed once and broken once."""

from __future__ import annotations

import json
import re
import ssl
import time
from typing import Any
from urllib.request import Request, urlopen

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import KILL_SWITCHES, RISK_LIMITS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.errors import ClusterRefused
from crowetrade_operator_tests.kstatus import kstatus
from crowetrade_operator_tests.samples import (
    UNSET,
    change,
    kill_manifest,
    limit_manifest,
    strategy_manifest,
    venue_manifest,
)
from crowetrade_operator_tests.servers import TOKEN, ApiServer

pytestmark = pytest.mark.integration
Object = dict[str, Any]
INSTRUMENT = venue_manifest()["spec"]["instruments"][0]


def venue_of(data: list[Object], symbols: list[str]) -> Object:
    """A venue with these recordings and instruments."""
    manifest = change(venue_manifest(), "spec.simulated.data", data)
    return change(manifest, "spec.instruments", [{**INSTRUMENT, "symbol": symbol} for symbol in symbols])


def sampled(*symbols: str) -> list[Object]:
    """A sample for each symbol."""
    return [{"symbol": symbol, "sample": "eurusd-1h"} for symbol in symbols]


def traded(*pairs: tuple[str, str]) -> Object:
    """A strategy that trades these symbols at these venues."""
    return change(
        strategy_manifest(),
        "spec.instruments",
        [{"symbol": symbol, "venueRef": {"name": venue}} for symbol, venue in pairs],
    )


def executed(model: Object, **execution: Object | str | int) -> Object:
    """A strategy of that model and execution."""
    return change(change(strategy_manifest(), "spec.model", model), "spec.policy.execution", dict(execution))


MAKER: Object = {"name": "market-maker"}
CLAIM = {"persistentVolumeClaim": {"claimName": "ticks", "path": "all.parquet"}}
FILE = {"configMap": {"name": "ticks", "key": "a.csv"}}
SIMULATED = venue_manifest()["spec"]["simulated"]
COSTS: Object = {
    "fees": {"makerBps": "2", "tiers": [{"fromNotional": "1000000", "makerBps": "-0.5", "takerBps": "4"}]},
    "funding": [{"symbol": "EUR-USD", "rateBps": "1"}],
    "rollover": [
        {"symbol": "EUR-USD", "longBps": "0.2", "shortBps": "-0.1", "at": "22:00", "timeZone": "Europe/London"}
    ],
    "shortSelling": "Forbidden",
}
BY_LABEL: Object = {"from": "Selector", "selector": {"matchLabels": {"team": "fx"}}}


def at_venues(*references: Object) -> Object:
    """A strategy with an instrument at each of these."""
    traded = [{"symbol": f"S{number}", "venueRef": item} for number, item in enumerate(references)]
    return change(strategy_manifest(), "spec.instruments", traded)


ACCEPTED: dict[str, tuple[ApiResource, Object]] = {
    "venues of two namespaces": (
        STRATEGIES,
        at_venues({"name": "a"}, {"name": "b", "namespace": "venues"}, {"name": "b", "namespace": "venues"}),
    ),
    "strategies of every namespace": (
        VENUES,
        change(venue_manifest(), "spec.allowedStrategies", {"namespaces": {"from": "All"}}),
    ),
    "strategies of namespaces by label": (
        VENUES,
        change(
            venue_manifest(),
            "spec.allowedStrategies",
            {"namespaces": BY_LABEL, "selector": {"matchLabels": {"tier": "one"}}},
        ),
    ),
    "a limit for strategies of namespaces by label": (
        RISK_LIMITS,
        change(limit_manifest(), "spec.scope.strategyNamespaces", BY_LABEL),
    ),
    "the sample of a venue": (VENUES, venue_manifest()),
    "the sample of a strategy": (STRATEGIES, strategy_manifest()),
    "the sample of a limit": (RISK_LIMITS, limit_manifest()),
    "a day of its own": (
        RISK_LIMITS,
        change(limit_manifest(), "spec.day", {"timeZone": "America/New_York", "startsAt": "17:00"}),
    ),
    "a day in a zone of three parts": (
        RISK_LIMITS,
        change(limit_manifest(), "spec.day", {"timeZone": "America/Argentina/Buenos_Aires"}),
    ),
    "a recording for each instrument": (VENUES, venue_of([*sampled("A"), {"symbol": "B", **FILE}], ["B", "A"])),
    "a recording of trades beside another": (VENUES, venue_of([*sampled("A"), {"symbol": "A", **FILE}], ["A"])),
    "a queue model with files": (
        VENUES,
        change(venue_of([{"symbol": "A", **FILE}], ["A"]), "spec.simulated.queueModel", "PriceTime"),
    ),
    "fee tiers, funding and rollover": (VENUES, change(venue_manifest(), "spec.simulated", {**SIMULATED, **COSTS})),
    "one file with a symbol column": (VENUES, venue_of([CLAIM], ["A", "B", "C"])),
    "a contract of fifty": (VENUES, change(venue_manifest(), "spec.instruments.0.multiplier", "50")),
    "a venue that never closes": (VENUES, change(venue_manifest(), "spec.calendar", "24x7")),
    "a venue with an exchange's days": (VENUES, change(venue_manifest(), "spec.calendar", "XNYS")),
    "the same symbol at two venues": (STRATEGIES, traded(("A", "one"), ("A", "two"), ("B", "one"))),
    "the sample of a KillSwitch": (KILL_SWITCHES, kill_manifest()),
    "a KillSwitch that is not engaged needs no reason": (
        KILL_SWITCHES,
        change(kill_manifest(engaged=False), "spec.reason", ""),
    ),
    "a KillSwitch for everybody": (
        KILL_SWITCHES,
        change(kill_manifest(), "spec.scope.namespaces", {"from": "All"}),
    ),
    "a pair": (STRATEGIES, change(strategy_manifest(), "spec.model", {"name": "pair-reversion"})),
    "quotes": (STRATEGIES, executed(MAKER, style="Quote", timeInForce="GTC", requoteTicks=5)),
    "quotes of a day": (STRATEGIES, executed(MAKER, style="Quote", timeInForce="DAY")),
    "quotes of a model of one's own": (
        STRATEGIES,
        executed({"entryPoint": "mine.maker:Maker"}, style="Quote", timeInForce="GTC"),
    ),
    "slices": (STRATEGIES, change(strategy_manifest(), "spec.policy.execution.sliceToLimits", True)),
}
REFUSED: dict[str, tuple[ApiResource, Object, str]] = {
    "two venues of one name": (
        STRATEGIES,
        at_venues({"name": "a", "namespace": "one"}, {"name": "a", "namespace": "two"}),
        "cannot trade at two venues of the same name in two namespaces",
    ),
    "a venue with and without its namespace": (
        STRATEGIES,
        at_venues({"name": "a"}, {"name": "a", "namespace": "two"}),
        "write two strategies, and the same venueRef wherever the venue is the same",
    ),
    "a namespace that cannot be": (
        STRATEGIES,
        at_venues({"name": "a", "namespace": "A.b"}),
        "must be the name of a namespace",
    ),
    "a selector of namespaces that selects nothing": (
        VENUES,
        change(venue_manifest(), "spec.allowedStrategies", {"namespaces": {"from": "Selector"}}),
        "from: Selector needs a selector with matchLabels or matchExpressions",
    ),
    "a limit whose selector of namespaces is empty": (
        RISK_LIMITS,
        change(limit_manifest(), "spec.scope.strategyNamespaces", {"from": "Selector", "selector": {}}),
        "from: Selector needs a selector",
    ),
    "a word that is no choice of namespaces": (
        VENUES,
        change(venue_manifest(), "spec.allowedStrategies", {"namespaces": {"from": "Some"}}),
        "Unsupported value",
    ),
    "no recording": (VENUES, venue_of([], ["A"]), "spec.simulated.data: Invalid value.* at least 1 items"),
    "a queue model with a sample": (
        VENUES,
        change(venue_of(sampled("A"), ["A"]), "spec.simulated.queueModel", "Probabilistic"),
        "a sample has no depth",
    ),
    "a queue model that there is not": (
        VENUES,
        change(venue_of([{"symbol": "A", **FILE}], ["A"]), "spec.simulated.queueModel", "Random"),
        "Unsupported value",
    ),
    "funding of what is not listed": (
        VENUES,
        change(venue_manifest(), "spec.simulated.funding", [{"symbol": "X", "rateBps": "1"}]),
        "each symbol must be one of spec.instruments",
    ),
    "funding at hours that do not divide a day": (
        VENUES,
        change(venue_manifest(), "spec.simulated.funding", [{"symbol": "EUR-USD", "rateBps": "1", "everyHours": 5}]),
        "Unsupported value: 5",
    ),
    "rollover at no time of day": (
        VENUES,
        change(venue_manifest(), "spec.simulated.rollover", [{**COSTS["rollover"][0], "at": "5pm"}]),
        "must be a time of day",
    ),
    "a tier twice": (
        VENUES,
        change(venue_manifest(), "spec.simulated.fees.tiers", COSTS["fees"]["tiers"] * 2),
        "Duplicate value",
    ),
    "two sources": (VENUES, venue_of([{**CLAIM, **FILE}], ["A"]), "set exactly one of sample"),
    "no source": (VENUES, venue_of([{"symbol": "A"}], ["A"]), "set exactly one of sample"),
    "a sample without its symbol": (VENUES, venue_of([{"sample": "eurusd-1h"}], ["A"]), "write the symbol of its"),
    "an instrument without a recording": (VENUES, venue_of(sampled("A"), ["A", "B"]), "for each of spec.instruments"),
    "a recording without an instrument": (VENUES, venue_of(sampled("A", "B"), ["A"]), "for each of spec.instruments"),
    "a recording twice": (VENUES, venue_of(sampled("A", "A"), ["A", "B"]), "for each of spec.instruments"),
    "two files with a symbol column": (VENUES, venue_of([CLAIM, FILE], ["A", "B"]), "for each of spec.instruments"),
    "an instrument twice": (VENUES, venue_of([CLAIM], ["A", "A"]), "Duplicate value"),
    "a contract of nothing": (
        VENUES,
        change(venue_manifest(), "spec.instruments.0.multiplier", "0"),
        "greater than zero",
    ),
    "a calendar in small letters": (
        VENUES,
        change(venue_manifest(), "spec.calendar", "xnys"),
        'must be "24x7" or the name of an exchange calendar in capitals',
    ),
    "a symbol twice at one venue": (STRATEGIES, traded(("A", "one"), ("A", "one")), "write each symbol once per venue"),
    "a model that is not there": (
        STRATEGIES,
        change(strategy_manifest(), "spec.model", {"name": "oracle"}),
        "pair-reversion",
    ),
    "quotes that do not rest": (
        STRATEGIES,
        executed(MAKER, style="Quote"),
        "quotes rest, so with style Quote set timeInForce to GTC or DAY",
    ),
    "quotes with a participation cap": (
        STRATEGIES,
        executed(MAKER, style="Quote", timeInForce="GTC", participationCap="0.1"),
        "participationCap is for style Limit",
    ),
    "a market maker that does not quote": (STRATEGIES, executed(MAKER, style="Limit"), "market-maker quotes, so it"),
    "a forecast that quotes": (
        STRATEGIES,
        executed({"name": "ema-crossover"}, style="Quote", timeInForce="GTC"),
        "the other built-in models make forecasts, so they need style Limit",
    ),
    "ticks of nothing": (
        STRATEGIES,
        executed(MAKER, style="Quote", timeInForce="GTC", requoteTicks=0),
        "requoteTicks.*greater than or equal to 1",
    ),
    "a day in a zone that does not exist": (
        RISK_LIMITS,
        change(limit_manifest(), "spec.day", {"timeZone": "Europe/Nowhere"}),
        "Europe/Nowhere",
    ),
    "a day in a zone that is an offset": (
        RISK_LIMITS,
        change(limit_manifest(), "spec.day", {"timeZone": "+02:00"}),
        "must be an IANA time zone such as America/New_York or UTC",
    ),
    "a day without a zone": (RISK_LIMITS, change(limit_manifest(), "spec.day", {"startsAt": "17:00"}), "timeZone"),
    "a day that begins at no time of a clock": (
        RISK_LIMITS,
        change(limit_manifest(), "spec.day", {"timeZone": "UTC", "startsAt": "24:00"}),
        "must be a time of day in quotes",
    ),
    "a limit without limits": (RISK_LIMITS, change(limit_manifest(), "spec.limits", {}), "set at least one of"),
    "a KillSwitch engaged without a reason": (
        KILL_SWITCHES,
        change(kill_manifest(), "spec.reason", UNSET),
        "spec.reason: say why it is engaged",
    ),
    "a KillSwitch of a mode that there is not": (
        KILL_SWITCHES,
        change(kill_manifest(), "spec.mode", "Freeze"),
        "Unsupported value",
    ),
    "a KillSwitch with a long name": (
        KILL_SWITCHES,
        change(kill_manifest(), "metadata.name", "a" * 41),
        "at most 40 characters",
    ),
    "a limit that warns beyond the whole": (
        RISK_LIMITS,
        change(limit_manifest(), "spec.warnAt", "1.1"),
        'at most "1"',
    ),
    "a required limit that there is not": (
        VENUES,
        change(venue_manifest(), "spec.requiredLimits", ["Vega"]),
        "Unsupported value",
    ),
    "no instruments": (VENUES, change(venue_manifest(), "spec.instruments", UNSET), "spec.instruments: Required"),
}


async def create(cluster: Cluster, namespace: str, resource: ApiResource, manifest: Object) -> Object:
    """The manifest in the namespace of the test."""
    return await cluster.create(resource, namespace, change(manifest, "metadata.namespace", namespace))


@pytest.mark.parametrize("case", ACCEPTED)
async def test_what_is_right_is_accepted(cluster: Cluster, namespace: str, case: str) -> None:
    await create(cluster, namespace, *ACCEPTED[case])


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_wrong_is_refused_and_named(cluster: Cluster, namespace: str, case: str) -> None:
    resource, manifest, message = REFUSED[case]
    with pytest.raises(ClusterRefused, match=re.compile(message, re.DOTALL)):
        await create(cluster, namespace, resource, manifest)


async def test_five_hundred_instruments_and_recordings_are_within_the_costs_of_the_rules(
    cluster: Cluster, namespace: str
) -> None:
    symbols = [f"INSTRUMENT-WITH-A-LONG-NAME-{number:03}" for number in range(500)]
    decimals = dict.fromkeys(("multiplier", "tickSize", "lotSize", "minQuantity"), f"0.{'0' * 16}1")
    manifest = venue_of(sampled(*reversed(symbols)), symbols)
    charged = symbols[:100]
    manifest["spec"]["simulated"]["funding"] = [{"symbol": symbol, "rateBps": "1"} for symbol in charged]
    rollover = [{"symbol": symbol, "longBps": "1", "shortBps": "1"} for symbol in charged]
    manifest["spec"]["simulated"]["rollover"] = rollover
    for instrument in manifest["spec"]["instruments"]:
        instrument.update(decimals)
    await create(cluster, namespace, VENUES, manifest)
    wrong = change(change(manifest, "metadata.name", "other"), "spec.simulated.data.0.symbol", "ELSE")
    with pytest.raises(ClusterRefused, match="for each of"):
        await create(cluster, namespace, VENUES, wrong)
    more = change(venue_of([CLAIM], [*symbols, "ONE-MORE"]), "metadata.name", "more")
    with pytest.raises(ClusterRefused, match="at most 500 items"):
        await create(cluster, namespace, VENUES, more)


NEW = {
    "Strategy": (STRATEGIES, strategy_manifest()),
    "VenueConnection": (VENUES, venue_manifest()),
    "RiskLimit": (RISK_LIMITS, limit_manifest()),
    "KillSwitch": (KILL_SWITCHES, kill_manifest()),
}


@pytest.mark.parametrize("kind", NEW)
async def test_a_new_resource_is_not_current_before_an_operator_has_looked_at_it(
    cluster: Cluster, namespace: str, kind: str
) -> None:
    resource, manifest = NEW[kind]
    created = await create(cluster, namespace, resource, manifest)
    assert created["status"] == {"observedGeneration": -1}
    name = created["metadata"]["name"]
    stored = await cluster.get(resource, namespace, name)
    assert stored["status"] == {"observedGeneration": -1}
    assert kstatus(stored) == "InProgress"


async def test_the_default_of_a_status_is_nobody_s_and_goes_with_the_first_that_is_written(
    cluster: Cluster, namespace: str
) -> None:
    created = await create(cluster, namespace, STRATEGIES, strategy_manifest())
    owned = [item["fieldsV1"] for item in created["metadata"]["managedFields"]]
    assert not any("f:status" in fields for fields in owned)
    metadata = {"name": created["metadata"]["name"], "namespace": namespace}
    written = {"observedGeneration": 1, "phase": "Trading"}
    body = {"apiVersion": created["apiVersion"], "kind": created["kind"], "metadata": metadata, "status": written}
    assert (await cluster.apply(body, "status"))["status"] == written
    labelled = await cluster.merge(STRATEGIES, namespace, metadata["name"], {"metadata": {"labels": {"desk": "rates"}}})
    assert labelled["status"] == written


@pytest.mark.parametrize("kind", NEW)
async def test_the_column_reported_says_how_old_a_status_is(
    api_server: ApiServer, cluster: Cluster, namespace: str, kind: str
) -> None:
    resource, manifest = NEW[kind]
    created = await create(cluster, namespace, resource, manifest)
    path = resource.path(namespace)
    assert _cell(api_server, path, "Reported") is None
    for days in (5, 2):
        metadata = {"name": created["metadata"]["name"], "namespace": namespace}
        written = {"observedGeneration": 1, "lastReportTime": rfc3339(time.time() - days * 86_400)}
        body = {"apiVersion": created["apiVersion"], "kind": kind, "metadata": metadata, "status": written}
        await cluster.apply(body, "status")
        assert _cell(api_server, path, "Reported") == f"{days}d"


def _cell(api_server: ApiServer, path: str, column: str) -> Any:
    """Of the only row, as `kubectl get` asks for it."""
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    request = Request(f"{api_server.url}{path}", headers={"Accept": table, "Authorization": f"Bearer {TOKEN}"})
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urlopen(request, timeout=15, context=context) as answer:
        found = json.load(answer)
    (row,) = found["rows"]
    return dict(zip((item["name"] for item in found["columnDefinitions"]), row["cells"], strict=True))[column]
