"""Every reason of a condition or an event, and why an agent waits; each with a line for the reference pages."""

from __future__ import annotations

from crowetrade_api.model import DocumentedEnum


class Reason(DocumentedEnum):
    """Why a condition has its status."""

    # good
    AS_DESIRED = "AsDesired", "It is as its spec says."
    AVAILABLE = "Available", "All pods are ready."
    LOGGED_ON = "LoggedOn", "The gateway is logged on at its venue."
    REPLAY_ENDED = "ReplayEnded", "The recording of a simulated venue has been played to its end."
    LIMITS_IN_FORCE = "LimitsInForce", "The gateways have confirmed the RiskLimits that bind the strategy."
    ORDERS_ACCEPTED = "OrdersAccepted", "The gateways accept orders of the strategy."
    NOT_REQUIRED = "NotRequired", "The venue wants no key."
    DELIVERED = "Delivered", "The gateway has the venue's keys."
    ACKNOWLEDGED = "Acknowledged", "All gateways concerned have confirmed this version of the RiskLimit or KillSwitch."
    ACCEPTED = "Accepted", "The gateways that run have confirmed the RiskLimit; others get it when they start."
    NOTHING_IN_SCOPE = "NothingInScope", "The scope of the RiskLimit or KillSwitch selects nothing at any venue."
    NOT_REFUSED = "NotRefused", "Orders were refused before, and none was in the last minute."
    NOT_ENGAGED = "NotEngaged", "The KillSwitch is not engaged, and no gateway has it in force."
    # on the way
    STARTING = "Starting", "Pods start, or the gateway has not reported yet."
    ROLLING_OUT = "RollingOut", "The agents, or the gateway, are brought to the present configuration."
    WAITING_FOR_FLAT = "WaitingForFlat", "A change of the agents waits until there is no position and no open order."
    WAITING_FOR_QUIET = (
        "WaitingForQuiet",
        "A change of the gateway waits until no order is open, and nothing is held that could not be closed then.",
    )
    WAITING_FOR_TURN = (
        "WaitingForTurn",
        "A change of the gateway, or of the agents, waits until others of the namespace have restarted.",
    )
    CLOSE_ONLY = "CloseOnly", "In an instrument that the spec names no more, orders may only reduce positions."
    CONNECTING = "Connecting", "The gateway connects to its venue."
    WAITING_FOR_GATEWAY = "WaitingForGateway", "A gateway has not confirmed its present configuration."
    WAITING_FOR_CREDENTIALS = "WaitingForCredentials", "The venue's key has not reached the gateway's pod."
    WAITING_FOR_STRATEGIES = "WaitingForStrategies", "In lock step, the market waits for strategies without a session."
    STOPPING = "Stopping", "Open orders are cancelled because of a suspension or a deletion."
    ORDERS_OPEN = "OrdersOpen", "Orders that the KillSwitch cancels are still open."
    POSITIONS_OPEN = (
        "PositionsOpen",
        "Positions that the KillSwitch closes (mode Flatten) are still open.",
        "Read status.openPositions: why each is not closed. Close at the venue by hand what no gateway can.",
    )
    REARMING = "Rearming", "The KillSwitch is no longer engaged, and a gateway still has it in force."
    # wanted by the user
    SUSPENDED = "Suspended", "spec.suspend is true, and no order is open."
    OBSERVE_ONLY = "ObserveOnly", "spec.enforcement is Observe: breaches are counted and orders pass."
    VENUE_SUSPENDED = "VenueSuspended", "spec.suspend of the VenueConnection is true."
    VENUE_DELETED = (
        "VenueDeleted",
        "The VenueConnection is being deleted; positions are closed where Flatten asks for it.",
    )
    KILL_SWITCH_ENGAGED = (
        "KillSwitchEngaged",
        "A KillSwitch is engaged: it stops trading until another person re-arms it.",
    )
    WATCH_BROKEN = (
        "WatchBroken",
        "The gateway's watch of KillSwitches at the API server is broken, or has not begun.",
        "Check ClusterRole crowetrade-gateway and its bindings, operator.networkPolicy.apiServer of the chart, and the "
        "gateway's log for kill_switches_not_watched.",
    )
    BUS_WRITES_NOT_SYNCED = (
        "BusWritesNotSynced",
        "NATS acknowledges writes before they are on disk.",
        "Set jetstream.sync_interval of NATS to always.",
    )
    BUS_SETTINGS_UNREADABLE = (
        "BusSettingsUnreadable",
        "Something that is relied upon of NATS cannot be read.",
        "Export $SYS.REQ.SERVER.PING.VARZ of NATS's system account to the operator's account.",
    )
    BUS_LIMITS_MISSING = (
        "BusLimitsMissing",
        "A limit of NATS is missing or too small.",
        "Set the limit that the message names, in the configuration of NATS.",
    )
    BUS_PERMISSION_MISSING = (
        "BusPermissionMissing",
        "The operator may not do on the bus what it has to.",
        "Give the operator's identity the permission that the message names.",
    )
    BUS_PERMISSIONS_TOO_WIDE = (
        "BusPermissionsTooWide",
        "The bus does not hold identities to their permissions.",
        "Use the authorization callout of the chart, or permissions of your own as in docs/identity.md.",
    )
    BUS_BUCKET_EMPTIED_BY_ONE_KEY = (
        "BusBucketEmptiedByOneKey",
        "Who may write one key of a bucket of NATS, such as a gateway its share of a limit, may empty all of it.",
        "Have an administrator of the bus set allow_rollup_hdrs to false and deny_purge to true in the stream that the "
        "message names (docs/troubleshooting.md).",
    )
    NO_IDENTITY_SOURCE = (
        "NoIdentitySource",
        "identity.source of the installation is None.",
        "Set identity.source of the chart to Vault, CertManager or Files.",
    )
    CRD_OLDER_THAN_OPERATOR = (
        "CrdOlderThanOperator",
        "The CRD does not declare fields that the operator reports.",
        "Upgrade the CRDs to the version of the operator: `helm upgrade`, or apply those of the release.",
    )
    RECONCILING_PAUSED = (
        "ReconcilingPaused",
        "The annotation trading.crowetrade.io/paused is true.",
        "Take the annotation away when the operator is to go on.",
    )
    PAUSED_UNREADABLE = (
        "PausedUnreadable",
        "The annotation trading.crowetrade.io/paused is neither true nor false, so nothing is paused.",
        "Write true, or take the annotation away.",
    )
    # the user has to do something
    VENUE_NOT_FOUND = (
        "VenueNotFound",
        "A VenueConnection that the strategy names does not exist.",
        "Create the VenueConnection, or correct the name in venueRef.",
    )
    VENUE_NOT_ALLOWED = (
        "VenueNotAllowed",
        "spec.allowedStrategies of a VenueConnection that the strategy names does not admit it.",
        "Select the strategy's namespace and labels in spec.allowedStrategies of the VenueConnection.",
    )
    STRATEGY_NOT_ALLOWED = (
        "StrategyNotAllowed",
        "A Strategy names the VenueConnection, and spec.allowedStrategies does not admit it.",
        "Select its namespace and labels in spec.allowedStrategies, or take the venue out of the Strategy.",
    )
    INSTRUMENT_UNKNOWN = (
        "InstrumentUnknown",
        "A VenueConnection does not declare an instrument of the strategy.",
        "Declare the instrument under spec.instruments of the VenueConnection, or correct its symbol.",
    )
    CURRENCY_MISMATCH = (
        "CurrencyMismatch",
        "An instrument is quoted in another currency than the capital.",
        "Trade instruments of the currency of spec.capital.",
    )
    NO_LIMIT_IN_FORCE = (
        "NoLimitInForce",
        "No enforced RiskLimit binds an instrument of the strategy.",
        "Create a RiskLimit whose scope selects the strategy.",
    )
    REQUIRED_LIMIT_MISSING = (
        "RequiredLimitMissing",
        "spec.requiredLimits of a VenueConnection names a group of limits, and no RiskLimit in force sets one of it.",
        "Set a limit of the group in a RiskLimit whose scope selects the strategy.",
    )
    LIMIT_UNREADABLE = (
        "LimitUnreadable",
        "A RiskLimit does not match this operator's schema: the venues are halted.",
        "Upgrade the operator, or correct or delete the RiskLimit.",
    )
    LIMIT_UNKNOWN = (
        "LimitUnknown",
        "A gateway cannot enforce a RiskLimit and refuses every order that it binds.",
        "Upgrade the gateway, or take the limit that the message names out of the RiskLimit.",
    )
    VENUE_UNREADABLE = (
        "VenueUnreadable",
        "The VenueConnection does not match this operator's schema: its gateway is halted.",
        "Upgrade the operator, or correct or delete the VenueConnection.",
    )
    STRATEGY_UNREADABLE = (
        "StrategyUnreadable",
        "The Strategy does not match this operator's schema: its orders are refused.",
        "Upgrade the operator, or correct or delete the Strategy.",
    )
    KILL_SWITCH_UNREADABLE = (
        "KillSwitchUnreadable",
        "The KillSwitch does not match this operator's schema, which counts as engaged for everybody.",
        "Upgrade the operator, or correct or delete the KillSwitch.",
    )
    CONFIGURATION_TOO_LARGE = (
        "ConfigurationTooLarge",
        "What the gateway has to enforce does not fit into one message: the gateway is halted.",
        "Use fewer or shorter labels and names, or divide the strategies over several venues.",
    )
    ORDERS_REFUSED = (
        "OrdersRefused",
        "Orders are refused again and again for the same reason.",
        "Do what the message says: it names the limit or the check that refuses.",
    )
    CONFIGURATION_ERROR = (
        "ConfigurationError",
        "A process refused its configuration; the message is its own.",
        "Correct the field of the manifest that the message names.",
    )
    VAULT_ROLE_AS_WANTED = "VaultRoleAsWanted", "The Vault role is bound to the gateway's service account alone."
    VAULT_ROLE_DIFFERS = (
        "VaultRoleDiffers",
        "The Vault role is missing, or bound to others than the gateway.",
        "Bind the role to the service account that the message names, or let the chart do it (vault.roles).",
    )
    VAULT_ROLE_NOT_MANAGED = (
        "VaultRoleNotManaged",
        "The operator may not manage a role of this name or for this path.",
        "Give the role a name and a path that the operator's policy in Vault covers.",
    )
    VAULT_SEALED = (
        "VaultSealed",
        "Vault is sealed: it gives no keys until it is unsealed.",
        "Unseal Vault.",
    )
    VAULT_UNREACHABLE = (
        "VaultUnreachable",
        "Vault cannot be reached, or answers with an error of its own.",
        "Check vault.address of the chart, the network policies and Vault itself.",
    )
    VAULT_CERTIFICATE_REFUSED = (
        "VaultCertificateRefused",
        "TLS with Vault fails: a certificate is not trusted.",
        "Set vault.caCertificate of the chart to the authority of Vault.",
    )
    VAULT_LOGIN_REFUSED = (
        "VaultLoginRefused",
        "Vault refuses the gateway's login: the role or its bindings are wrong.",
        "Bind the role in Vault to the service account, namespace and audience that the message names.",
    )
    VAULT_ACCESS_DENIED = (
        "VaultAccessDenied",
        "Vault's policies do not let the gateway read the secret.",
        "Give the role a policy that may read the secret's path.",
    )
    VAULT_SECRET_MISSING = (
        "VaultSecretMissing",
        "Vault has nothing at the secret's path.",
        "Write the secret to the path that the message names.",
    )
    CREDENTIALS_INCOMPLETE = (
        "CredentialsIncomplete",
        "The secret lacks a field that spec.credentials names.",
        "Add the field to the secret, or correct its name in spec.credentials.",
    )
    CREDENTIALS_UNREADABLE = (
        "CredentialsUnreadable",
        "The keys in the gateway's pod cannot be read.",
        "Do what the message says; it names the file.",
    )
    CREDENTIALS_REFUSED = (
        "CredentialsRefused",
        "The venue does not take a new version of the keys.",
        "Correct the keys in the secret: the gateway goes on with the ones before.",
    )
    PLAIN_HTTP = (
        "PlainHttp",
        "The address of Vault begins with http: whoever sees the traffic has the keys, or can make certificates.",
        "Give vault.address of the chart an address that begins with https.",
    )
    VAULT_NOT_CONFIGURED = (
        "VaultNotConfigured",
        "credentials.vault is set, and the operator knows no Vault.",
        "Set vault.address of the chart, or use credentials.secretRef for development.",
    )
    LOGON_REJECTED = (
        "LogonRejected",
        "The venue rejected the logon.",
        "Correct spec.credentials of the VenueConnection, or the keys in the secret.",
    )
    # a person has to look, then clear it with the annotation trading.crowetrade.io/clear-halt
    JOURNAL_BELOW_RECORD = (
        "JournalBelowRecord",
        "The gateway's journal ends before what is on record: what the account holds is not known.",
        "Restore the journal, or compare the account with the venue and clear the halt as the message says.",
    )
    UNKNOWN_EXECUTION = (
        "UnknownExecution",
        "The venue reported an execution of an order that the journal lacks.",
        "Compare the account with the venue, then clear the halt as the message says.",
    )
    POSITION_DIFFERENCE = (
        "PositionDifference",
        "The venue reports another position than the journal.",
        "Compare the account with the venue, then clear the halt as the message says.",
    )
    # a person has to look, then clear it with the annotation trading.crowetrade.io/clear-breach of the RiskLimit
    LIMIT_BREACHED = (
        "LimitBreached",
        "A limit was breached, and nobody has cleared it.",
        "Find out why, then clear the breach with the annotation that the message names.",
    )
    # something is wrong
    NEAR_LIMIT = (
        "NearLimit",
        "The use of a limit is above spec.warnAt of its RiskLimit.",
        "Let the strategy do less, or raise the limit, before it refuses orders.",
    )
    MODEL_FAILING = (
        "ModelFailing",
        "The model raises errors or gives numbers that cannot be used.",
        "Correct the model; kubectl logs of the strategy's pod has the error.",
    )
    STAGE_FAILED = (
        "StageFailed",
        "A stage of the agents raised an error; the message is its own.",
        "Correct what the message names; kubectl logs of the strategy's pod has the error.",
    )
    DATA_GAP = (
        "DataGap",
        "Market data has stopped for longer than policy.standDown allows.",
        "See whether the venue sends quotes of the instrument: kubectl logs of its gateway's pod.",
    )
    QUOTA_EXCEEDED = (
        "QuotaExceeded",
        "A ResourceQuota leaves no room for a pod.",
        "Raise the quota, free what it counts, or ask for less in the manifest.",
    )
    LIMIT_RANGE_VIOLATED = (
        "LimitRangeViolated",
        "A LimitRange does not admit the resources of a pod.",
        "Set the resources in the manifest within the LimitRange.",
    )
    POD_SECURITY_VIOLATED = (
        "PodSecurityViolated",
        "The namespace's Pod Security level does not admit a pod.",
        "Find what adds to the operator's pods, which pass the level restricted, or lower the namespace's level.",
    )
    ADMISSION_DENIED = (
        "AdmissionDenied",
        "An admission webhook or policy does not admit a pod.",
        "Ask who runs the webhook or policy that the message names.",
    )
    POD_REFUSED = (
        "PodRefused",
        "The API server refuses a pod for another reason; the message is its own.",
        "Do what the message asks for.",
    )
    UNSCHEDULABLE = (
        "Unschedulable",
        "No node takes a pod.",
        "Add room to the cluster or take taints away, or ask for less in the manifest.",
    )
    IMAGE_PULL_FAILED = (
        "ImagePullFailed",
        "A node cannot get the image of a pod.",
        "Correct the image's name, or let the node reach and read its registry.",
    )
    MOUNT_FAILED = (
        "MountFailed",
        "A volume of a pod cannot be mounted; the message names what is missing.",
        "Create what the message names, or correct the name in the manifest.",
    )
    SANDBOX_FAILED = (
        "SandboxFailed",
        "A node cannot give a pod its network.",
        "Look at the network plugin of the node that the message names.",
    )
    CONTAINER_FAILED = (
        "ContainerFailed",
        "A node cannot create or start a container of a pod.",
        "Do what the message says; kubectl describe pod has more.",
    )
    OUT_OF_MEMORY = (
        "OutOfMemory",
        "A container was killed because it used more memory than its limit.",
        "Raise the memory limit in the manifest.",
    )
    CRASHING = (
        "Crashing",
        "A container ends again and again.",
        "See kubectl logs --previous of the pod that the message names.",
    )
    EVICTED = (
        "Evicted",
        "A node has evicted a pod.",
        "Another pod comes by itself. If it happens again, raise the field or free what the message names.",
    )
    POD_FAILED = (
        "PodFailed",
        "A node has refused or ended a pod; the message is its own.",
        "Another pod comes by itself. If it happens again, do what the message asks for.",
    )
    NODE_LOST = (
        "NodeLost",
        "The node of a pod does not answer.",
        "Look at the node; when it is sure that it is off, delete the pod as the message says.",
    )
    PROGRESS_DEADLINE_EXCEEDED = (
        "ProgressDeadlineExceeded",
        "Pods were not ready in time, and nothing says why.",
        "See kubectl describe and kubectl logs of the Deployment that the message names.",
    )
    DISCONNECTED = (
        "Disconnected",
        "The session with the venue is lost; the gateway tries again.",
        "If it lasts, ask the venue, and look at the network between: kubectl logs of the gateway's pod says why.",
    )
    AGENT_NOT_CONNECTED = (
        "AgentNotConnected",
        "The execution agent has no session with a gateway.",
        "If it lasts, see kubectl logs of the strategy's pod: it says what it tries and who refuses.",
    )
    GATEWAY_BLOCKED = (
        "GatewayBlocked",
        "A gateway refuses all orders for a reason that this operator does not know.",
        "Upgrade the operator; the message is the gateway's own.",
    )
    UNREADABLE_CONFIGURATION = (
        "UnreadableConfiguration",
        "A gateway cannot read its configuration, so it refuses all orders.",
        "Upgrade the gateway to the version of the operator.",
    )
    NO_CONFIGURATION = (
        "NoConfiguration",
        "A gateway has not received its configuration.",
        "If it lasts, look whether the gateway reaches the bus, and whether an operator works.",
    )
    GATEWAY_SILENT = (
        "GatewaySilent",
        "A gateway has stopped reporting.",
        "Look at its pod: whether it runs, and whether it reaches the bus.",
    )
    BUS_UNAVAILABLE = (
        "BusUnavailable",
        "The message bus cannot be used, so the state is not known.",
        "Look at the pods of NATS, and whether nats.url of the chart is their address.",
    )
    NAMESPACE_STORE_FULL = (
        "NamespaceStoreFull",
        "The journals of the namespace reserve all that one namespace may of the store of NATS: the venue gets none.",
        "Have an administrator of the bus delete the streams of venues that are gone, or raise nats.namespaceMaxBytes "
        "of the chart; meanwhile the venue has no gateway.",
    )
    BUS_STORE_FULL = (
        "BusStoreFull",
        "NATS has no room for the journal of the venue.",
        "Give NATS more storage (nats.maxFileStore of the chart), or have an administrator of the bus delete the "
        "streams of venues that are gone; meanwhile the venue has no gateway.",
    )
    NAME_TAKEN = (
        "NameTaken",
        "An object that somebody else made has the name of a child, which the message tells: it is left as it is.",
        "Rename or delete that object, or give the resource another name.",
    )
    REFUSED_BY_CLUSTER = (
        "RefusedByCluster",
        "The API server refused a child or its end, as by a quota, an admission policy or a webhook.",
        "Do what the message says: it names the child and who refuses it.",
    )


class EventReason(DocumentedEnum):
    """Reason of an event that is not the transition of a condition: how a deletion went, or what was repaired."""

    STOPPED = "Stopped", "The gateways confirmed that the strategy has no open order and what it holds."
    HALT_CLEARED = (
        "HaltCleared",
        "The gateway confirmed that halts are cleared, so the annotation clear-halt was removed.",
    )
    HALTED = "Halted", "The gateway confirmed that no order is open."
    BREACH_CLEARED = (
        "BreachCleared",
        "The gateways confirmed that breaches are cleared, so the annotation clear-breach was removed.",
    )
    BREACH_UNKNOWN = (
        "BreachUnknown",
        "The annotation clear-breach of a RiskLimit names what is no breach of it, so it was removed.",
        "Name a breach as status.breached of the RiskLimit lists it.",
    )
    BREACH_NOT_CLEARED = (
        "BreachNotCleared",
        "The annotation clear-halt of a VenueConnection names a breach whose RiskLimit is there, so it was removed.",
        "Clear the breach at its RiskLimit, as the message writes it.",
    )
    ORDER_WITHOUT_OBJECT = (
        "OrderWithoutObject",
        "Gateways have a kill order in force that had no KillSwitch, so one was created by which it can be re-armed.",
    )
    FORCE_DELETED = (
        "ForceDeleted",
        "The annotation force-delete skipped the wait for the gateway.",
        "Look at the venue for orders that are still open, and for what is held there.",
    )
    STOP_DEADLINE_EXCEEDED = (
        "StopDeadlineExceeded",
        "Deleted although a gateway did not confirm in time.",
        "Look at the venue for orders that are still open, and for what is held there.",
    )
    POSITION_LEFT = (
        "PositionLeft",
        "A position is left at a venue after a deletion; the message says which and why.",
        "Close it at the venue, or keep it knowingly: nobody here does.",
    )
    CHILD_REPAIRED = "ChildRepaired", "Somebody changed or deleted a child, and it is as it should be again."
    CHILD_CONTESTED = (
        "ChildContested",
        "Somebody changes a child again each time that it is repaired: it is repaired less and less often.",
        "Stop the writer that the message names from changing these fields: see docs/other-writers.md.",
    )
    GATEWAY_GONE = (
        "GatewayGone",
        "The gateway is gone and has not confirmed that no order is open.",
        "Look at the venue for orders that are still open, and for what is held there.",
    )


class WaitingReason(DocumentedEnum):
    """Why an agent does not trade, in its own words; models, stand-down rules and execution add theirs."""

    ROLE_NOT_READY = (
        "RoleNotReady",
        "Another role of the strategy does not answer.",
        "Look at the pods of the strategy; they may just start.",
    )
    GATEWAY_UNREACHABLE = (
        "GatewayUnreachable",
        "There is no session with a gateway.",
        "Look at the gateway's pod, and for a network policy of yours between the two.",
    )
    NO_MARKET_DATA = (
        "NoMarketData",
        "No market data has arrived since the process started.",
        "Look at the venue: its VenueConnection says whether it is connected.",
    )
