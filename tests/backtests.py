"""What the gateways of a backtest journal, for tests that compare it with what others do with the same manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.gateway.loop import Gateway
from crowetrade_agents.runtime.backtest.run import Backtest
from crowetrade_api.files import EnvName
from crowetrade_cli.backtest.plan import Recordings, plan_of
from crowetrade_cli.backtest.run import WHOLE
from crowetrade_cli.local.sources import admitted
from crowetrade_cli.manifests.admission import Manifest
from crowetrade_cli.manifests.selection import Found
from crowetrade_cli.samples import INSTALLED_SAMPLES


def journaled(manifests: Sequence[Manifest], environment: Mapping[str, str]) -> list[journal_pb2.JournalEvent]:
    """Every event of a backtest over the whole recordings, in order. `environment` says where those are that do not
    come with the command."""
    plan = plan_of(admitted([Found(manifest, "a test") for manifest in manifests], "default"), "default")
    recordings = Recordings({EnvName.SAMPLE_DIRECTORY: str(INSTALLED_SAMPLES), **environment})
    events: list[journal_pb2.JournalEvent] = []

    def recorded(gateway: Gateway, new: Sequence[journal_pb2.JournalEvent]) -> None:
        events.extend(new)

    venues = [(recordings.of(file), plan.configurations[file.name]) for file in plan.traded]
    for _ in Backtest(venues, plan.strategies, recorded, WHOLE.from_ns, WHOLE.to_ns).run():
        pass
    return events
