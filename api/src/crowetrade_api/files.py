"""What the operator hands to the pods of strategies and gateways: files, environment, paths; and what their exit says.

The files are built from the models of the resources, so a default has one value. The operator writes them and the
agents read them. A field that a newer operator added is ignored, a value that is not understood is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from crowetrade_api.model import ApiModel
from crowetrade_api.names import name_at
from crowetrade_api.v1alpha1.strategy import Strategy, StrategySpec
from crowetrade_api.v1alpha1.venueconnection import (
    Instrument,
    ShortSelling,
    Simulated,
    SimulatedData,
    VenueConnection,
    VenueConnectionSpec,
)

CONFIG_DIRECTORY = "/etc/crowetrade"
STRATEGY_FILE = "strategy.json"
VENUE_FILE = "venue.json"
VAULT_AGENT_FILE = "vault-agent.json"
VAULT_CA_FILE = "vault-ca.crt"
"""Certificates of the authority that signed Vault's own."""
DATA_DIRECTORY = "/data"
SAMPLE_DIRECTORY = "/usr/share/crowetrade/data"
CREDENTIALS_DIRECTORY = "/var/run/crowetrade/credentials"
CREDENTIALS_FILE = "credentials.json"
"""What Vault Agent renders there: all keys of one version of the secret, replaced as a whole; see CredentialsFile. A
mounted Secret has a file for each key instead, by the key's name."""
VAULT_AGENT_LOG = "vault-agent.log"
"""Vault Agent's log, as JSON lines, beside the keys: the gateway reads there why a new version does not come."""
TERMINATION_LOG = "/dev/termination-log"
KILL_DIRECTORY = "/var/run/crowetrade/kills"
"""Where the operator mounts the directory of EnvName.KILL_DIRECTORY."""
SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"


class EnvName(StrEnum):
    """Environment variables of the agents. The operator sets the first three; the rest move ports and paths."""

    POD_NAME = "POD_NAME"
    NATS_URL = "NATS_URL"
    CONFIG_HASH = "CONFIG_HASH"
    HTTP_PORT = "HTTP_PORT"
    GRPC_PORT = "GRPC_PORT"
    # Of a gateway: where kill orders come in directly.
    CONTROL_PORT = "CONTROL_PORT"
    CONFIG_FILE = "CROWETRADE_CONFIG"
    DATA_DIRECTORY = "CROWETRADE_DATA"
    SAMPLE_DIRECTORY = "CROWETRADE_SAMPLE_DATA"
    CREDENTIALS_DIRECTORY = "CROWETRADE_CREDENTIALS"
    TERMINATION_LOG = "CROWETRADE_TERMINATION_LOG"
    # Directory that outlives the container: a gateway keeps kill orders in force there. Unset: in the journal alone.
    KILL_DIRECTORY = "CROWETRADE_KILL_DIRECTORY"
    # Namespaces whose KillSwitches a gateway watches at the API server, separated by commas; * for all. Unset: none.
    KILL_NAMESPACES = "CROWETRADE_KILL_NAMESPACES"
    # Address and credentials of the API server, as Kubernetes gives them to every pod.
    API_SERVER_HOST = "KUBERNETES_SERVICE_HOST"
    API_SERVER_PORT = "KUBERNETES_SERVICE_PORT"
    SERVICE_ACCOUNT_DIRECTORY = "CROWETRADE_SERVICE_ACCOUNT"
    # HOST:PORT of a simulated venue that runs as a process of its own, for tests of the gateway's death.
    SIMULATED_SERVER = "CROWETRADE_SIMULATED_SERVER"


class ExitCode(IntEnum):
    """How a process ends; the names of sysexits.h in the comments."""

    # EX_OK: it was asked to stop.
    STOPPED = 0
    FAILED = 1
    # EX_TEMPFAIL: another gateway owns the journal, or the journal cannot be used; a new start may help.
    JOURNAL_LOST = 75
    # EX_CONFIG: another start with the same configuration does not help.
    CONFIGURATION_ERROR = 78


class _File(ApiModel):
    namespace: str
    name: str
    # Fields of the spec that travel by the bus or are a matter of the operator.
    _left_out: ClassVar[set[str]] = {"suspend"}

    def content(self) -> dict[str, Any]:
        """The file as it is written, without what the process has no use for: a change of that restarts nothing."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json", exclude={"spec": self._left_out})


class CredentialsFile(ApiModel):
    """credentials.json."""

    # As Vault counts versions; empty for credentials with a lease.
    version: str = ""
    # By the names of CredentialKeys. Null: the secret has no such field.
    keys: dict[str, str | None] = Field(repr=False)


class ListedInstrument(Instrument):
    """An instrument as the VenueConnection of that name declares it, and what holds for each of its instruments."""

    venue: str
    # None: allowed. An execution that does not know that shorts are refused could not even get flat there: the venue
    # refuses the order that closes and turns as a whole.
    short_selling: ShortSelling | None = None

    @classmethod
    def of(cls, venue: VenueConnection, declared: Instrument) -> Self:
        """`declared` is one of the venue's own."""
        simulated = venue.spec.simulated
        forbidden = simulated is not None and simulated.short_selling == ShortSelling.FORBIDDEN
        return cls(
            **declared.model_dump(),
            venue=venue.name,
            short_selling=ShortSelling.FORBIDDEN if forbidden else None,
        )


class StrategyFile(_File):
    """strategy.json."""

    _left_out: ClassVar[set[str]] = {"suspend", "deletion_policy", "agents"}
    spec: StrategySpec
    # Address of each venue's gateway.
    gateways: dict[str, str]
    # Those that the strategy trades, in the order of the manifest.
    instruments: list[ListedInstrument]

    @classmethod
    def of(
        cls, strategy: Strategy, instruments: Mapping[tuple[str, str], ListedInstrument], gateways: dict[str, str]
    ) -> Self:
        """`instruments` are those that the venues declare, by venue and symbol (see references.py); `gateways` the
        address of each venue's."""
        traded = [(item.venue_ref.name, item.symbol) for item in strategy.spec.instruments]
        return cls(
            namespace=strategy.namespace,
            name=strategy.name,
            spec=strategy.spec,
            gateways=gateways,
            instruments=[instruments[key] for key in traded],
        )

    def namespace_of(self, venue: str) -> str:
        """Namespace of one of the venues."""
        return self.spec.namespace_of(venue, self.namespace)

    def name_at(self, venue: str) -> str:
        """What the gateway of one of the venues calls the strategy."""
        return name_at(self.namespace_of(venue), self.namespace, self.name)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Instruments in the order of the manifest, which is the order the model gets them in."""
        return tuple(item.symbol for item in self.spec.instruments)

    @property
    def venues(self) -> tuple[str, ...]:
        """Venues in the order in which the manifest names them first."""
        return tuple(self.spec.venues)


@dataclass(slots=True)
class DataMount:
    """One volume with recordings: a claim, or the keys of a ConfigMap. Mounted at `DATA_DIRECTORY/<number>`."""

    number: int
    claim_name: str = ""
    config_map: str = ""
    keys: tuple[str, ...] = ()


def data_mounts(data: Sequence[SimulatedData]) -> list[DataMount]:
    """The volumes that the recordings lie on: each claim and each ConfigMap once, numbered from 0 in their order."""
    mounts: dict[tuple[str, str], DataMount] = {}
    for item in data:
        source = _source(item)
        if source is None:
            continue
        mount = mounts.setdefault(source, DataMount(len(mounts), *source))
        key = item.config_map.key if item.config_map is not None else ""
        if key and key not in mount.keys:
            mount.keys = (*mount.keys, key)
    return list(mounts.values())


def _source(item: SimulatedData) -> tuple[str, str] | None:
    """Claim and ConfigMap; one of them is empty. None for a sample."""
    if item.persistent_volume_claim is not None:
        return item.persistent_volume_claim.claim_name, ""
    return ("", item.config_map.name) if item.config_map is not None else None


class RecordingFile(ApiModel):
    """A recording as the gateway finds it.

    `path` is relative to SAMPLE_DIRECTORY when `origin` is Sample, and to DATA_DIRECTORY when it is Data. `symbol` is
    empty when the file has a symbol column. `sample` is the name of the sample, empty for other files.
    """

    symbol: str = ""
    origin: Literal["Sample", "Data"]
    sample: str = ""
    path: str
    spread_bps: str = "1"
    quote_quantity: str = "1000000"


def recording_files(data: Sequence[SimulatedData]) -> list[RecordingFile]:
    """The recordings in the order of the manifest, with the paths that `data_mounts` gives them."""
    numbers = {(mount.claim_name, mount.config_map): mount.number for mount in data_mounts(data)}
    return [_recording_file(item, numbers) for item in data]


def _recording_file(item: SimulatedData, numbers: dict[tuple[str, str], int]) -> RecordingFile:
    source = _source(item)
    inside = item.persistent_volume_claim.path if item.persistent_volume_claim is not None else ""
    inside = item.config_map.key if item.config_map is not None else inside
    return RecordingFile(
        symbol=item.symbol or "",
        origin="Sample" if source is None else "Data",
        sample=item.sample or "",
        path=f"{item.sample}.csv" if source is None else f"{numbers[source]}/{inside}",
        spread_bps=item.spread_bps,
        quote_quantity=item.quote_quantity,
    )


class VenueFile(_File):
    """venue.json."""

    _left_out: ClassVar[set[str]] = {"suspend", "allowed_strategies", "required_limits", "update_policy", "resources"}
    spec: VenueConnectionSpec
    # Where the recordings of a simulated venue are.
    recordings: list[RecordingFile] = Field(default_factory=list)

    @classmethod
    def of(cls, venue: VenueConnection) -> Self:
        """What the gateway of the venue is given."""
        simulated = venue.spec.simulated
        return cls(
            namespace=venue.namespace,
            name=venue.name,
            spec=venue.spec,
            recordings=recording_files(simulated.data) if simulated is not None else [],
        )

    @model_validator(mode="after")
    def _settings_of_its_type(self) -> Self:
        if self.spec.simulated is None:
            raise ValueError("spec.simulated is required when spec.type is Simulated")
        if self.spec.uncovered():
            raise ValueError(self.spec.uncovered())
        if len(self.recordings) != len(self.spec.simulated.data):
            raise ValueError("recordings: one entry is required for each of spec.simulated.data")
        return self

    @property
    def simulated(self) -> Simulated:
        """Settings of type Simulated, the only type for now."""
        assert self.spec.simulated is not None
        return self.spec.simulated
