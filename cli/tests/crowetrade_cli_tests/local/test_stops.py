"""What a desk shows of KillSwitches and breaches, from what gateways say."""

from __future__ import annotations

import io

from rich.console import Console

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_cli.local.report import Report
from crowetrade_cli.local.stops import StopRow, stops
from crowetrade_cli.local.table import tables
from crowetrade_cli.local.wanted import Address

FX, EQUITY = Address("desk", "sim-fx"), Address("desk", "sim-equity")
ALL = Address("desk", "all")


def switch(**spec: object) -> dict[Address, KillSwitch]:
    return {ALL: KillSwitch.model_validate({"metadata": {"namespace": "desk", "name": "all"}, "spec": spec})}


def killed(*strategies: str, halted: bool = True, mode: int = kill_pb2.KILL_MODE_CANCEL) -> status_pb2.GatewayStatus:
    kill = kill_pb2.KillAcknowledgement(
        namespace="desk",
        name="all",
        mode=mode,  # type: ignore[arg-type]
        strategies=strategies,
        halted_unix_ns=int(halted),
        reason="drill",
    )
    return status_pb2.GatewayStatus(kills=[kill])


def breached(action: str = "Block", subject: str = "", enforced: bool = True) -> status_pb2.GatewayStatus:
    breach = status_pb2.Breach(
        breach="fx-desk/-@sim-fx-8",
        risk_limit="fx-desk",
        limit="maxDailyLoss",
        subject=subject,
        action=action,
        text="lost 21000 of 20000",
        enforced=enforced,
    )
    accounts = [
        status_pb2.StrategyAccount(strategy="ema", risk_limits=["fx-desk"]),
        status_pb2.StrategyAccount(strategy="pair", risk_limits=["other"]),
    ]
    in_force = [status_pb2.RiskAcknowledgement(risk_limit="fx-desk")]
    return status_pb2.GatewayStatus(accounts=accounts, breaches=[breach], risk_acknowledgements=in_force)


def test_one_row_for_all_gateways() -> None:
    statuses = {FX: killed("ema", "pair"), EQUITY: killed("pair", halted=False)}
    [row] = stops(switch(engaged=True, reason="drill"), statuses)
    assert row == StopRow(
        namespace="desk",
        kind="KillSwitch",
        name="all",
        action="Cancel",
        stops=("desk/ema", "desk/pair"),
        halted="1/2",
        why="KillSwitch all is engaged: drill",
        remedy="set spec.engaged to false in its manifest",
    )


def test_one_that_no_gateway_has_seen_yet_is_shown() -> None:
    [row] = stops(switch(engaged=True, reason="drill", mode="Flatten"), {FX: status_pb2.GatewayStatus()})
    assert (row.action, row.stops, row.halted) == ("Flatten", (), "")


def test_one_whose_manifest_is_gone_says_so() -> None:
    [row] = stops({}, {FX: killed("ema")})
    assert row.why == "KillSwitch all is engaged: drill"
    assert row.remedy.startswith("its manifest is gone and it stays engaged")


def test_one_that_is_not_engaged_is_shown_as_long_as_a_gateway_has_it() -> None:
    assert [row.remedy for row in stops(switch(), {FX: killed("ema")})] == ["it is being re-armed"]
    assert stops(switch(), {FX: status_pb2.GatewayStatus()}) == []


def test_a_mode_that_is_not_known_cancels() -> None:
    assert [row.action for row in stops({}, {FX: killed(mode=99)})] == ["Cancel"]


def test_a_breach_stops_whom_its_limit_binds_and_says_how_it_is_cleared() -> None:
    [row] = stops({}, {FX: breached()})
    assert (row.kind, row.action, row.stops, row.why) == ("Breach", "Block", ("desk/ema",), "lost 21000 of 20000")
    assert row.remedy == (
        "add to metadata.annotations in the manifest of RiskLimit fx-desk: "
        'trading.crowetrade.io/clear-breach: "fx-desk/-@sim-fx-8: why"'
    )


def test_a_breach_whose_limit_is_gone_is_cleared_at_the_venue() -> None:
    status = breached()
    del status.risk_acknowledgements[:]
    [row] = stops({}, {FX: status})
    assert row.remedy == (
        "add to metadata.annotations in the manifest of VenueConnection sim-fx, because RiskLimit fx-desk is in force "
        'here no more: trading.crowetrade.io/clear-halt: "fx-desk/-@sim-fx-8: why"'
    )


def test_a_breach_of_one_strategy_stops_that_one() -> None:
    assert [row.stops for row in stops({}, {FX: breached(subject="pair")})] == [("desk/pair",)]


def test_a_breach_that_is_observed_says_so() -> None:
    assert [row.action for row in stops({}, {FX: breached(enforced=False)})] == ["Observe"]


def test_the_table_has_it_above_everything_else() -> None:
    rows = stops(switch(engaged=True, reason="drill [today]"), {FX: killed("ema")})
    report = Report(stops=rows, strategies=[], positions=[], orders=[], venues=[], limits=[])
    out = io.StringIO()
    Console(file=out, width=200).print(tables(report))
    first, *_ = out.getvalue().splitlines()
    assert first.startswith("Stopped until a person has looked")
    assert "KillSwitch all is engaged: drill [today]" in out.getvalue()
