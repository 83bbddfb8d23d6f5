"""What the demo tells at its end."""

from __future__ import annotations

import json
import shlex

from crowetrade_api.v1alpha1.killswitch import KillSwitchSpec
from tools.demo.strategies import kill_hints


def test_the_hints_engage_and_rearm_the_sample_killswitch() -> None:
    engage, _, rearm, _ = (shlex.split(line, comments=True) for line in kill_hints("kubectl --context demo", "jane"))
    first, second = (
        KillSwitchSpec.model_validate(json.loads(command[command.index("-p") + 1])["spec"])
        for command in (engage, rearm)
    )
    assert (first.engaged, first.reason, first.engaged_by) == (True, "drill", "jane")
    assert (second.engaged, second.engaged_by) == (False, "")
    assert "--as=second-person" in rearm
