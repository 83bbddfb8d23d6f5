"""A limit that is breached in `crowetrade run`, and cleared by an annotation of its manifest."""

from __future__ import annotations

import re

from crowetrade_api.names import CLEAR_BREACH_ANNOTATION
from crowetrade_api_tests.samples import change
from crowetrade_cli_tests.desk import LIMIT, Desk


def test_a_breach_stops_until_it_is_cleared_as_the_line_says(desk: Desk) -> None:
    tight = change(LIMIT, "spec.limits.maxDailyLoss", "0.01")
    desk.write(tight)
    desk.start("--plain")
    line = desk.until("^Breach maxDailyLoss/")
    desk.until("^strategy ema: Halted")
    found = re.search(
        rf'annotations in the manifest of RiskLimit fx-desk: {CLEAR_BREACH_ANNOTATION}: "(\S+): why"$', line
    )
    assert found is not None
    breach = found.group(1)
    wide = change(tight, "spec.limits.maxDailyLoss", "1000000")
    desk.write(change(wide, "metadata.annotations", {CLEAR_BREACH_ANNOTATION: f"{breach}: looked at"}))
    desk.until(f"^Breach {re.escape(breach)}: over")
    fills = sum("on sim-fx, fee" in text for text in desk.lines)
    desk.until("on sim-fx, fee", times=fills + 1)
    assert desk.interrupt() == 0
