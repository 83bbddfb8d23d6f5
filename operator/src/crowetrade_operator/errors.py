"""Every error of the operator.

OperatorError
├── SettingsError           the environment is wrong: say what to set, and stop
├── LeaseLost               this replica must not lead: stop all work, and let the process start again
├── WatchEnded              kopf watches no more: stop all work, and let the process start again
├── ClusterError            the API server answered with an error
│   ├── ClusterUnavailable    may be retried: connection, 429, 5xx
│   │   └── WebhookSilent         an admission webhook does not answer: somebody has to be told when it goes on
│   ├── Conflict              may be retried after reading again: 409
│   ├── NotFound              the object is gone: 404
│   └── ClusterRefused        is not retried soon: other 4xx (forbidden, invalid)
│       ├── NamespaceTerminating  nothing new may be made there: no reason to worry anybody
│       └── NotInSchema           the CRD does not declare a field: it is of another version
├── ReviewUnreadable        whoever asked sent no AdmissionReview: 400
└── BusUnavailable          may be retried: NATS cannot be reached or has no JetStream
    └── JournalRefused        the stream of a journal is not made: there is no room for it
"""

from __future__ import annotations

from crowetrade_api.reasons import Reason


class OperatorError(Exception):
    """Base of all errors that the operator raises."""


class SettingsError(OperatorError):
    """A setting is missing or cannot be read."""


class LeaseLost(OperatorError):
    """The Lease is not ours any more, or may be another's, or its history went back."""


class WatchEnded(OperatorError):
    """kopf has ended by itself."""


class ReviewUnreadable(OperatorError):
    """What came to the webhook is no AdmissionReview that can be read."""


class ClusterError(OperatorError):
    """The API server answered with an error."""

    def __init__(self, verb: str, path: str, code: int, message: str) -> None:
        super().__init__(f"{verb} {path}: {code} {message}")
        self.code = code
        self.message = message


class ClusterUnavailable(ClusterError):
    """No connection, too many requests, or an error of the API server itself."""


class WebhookSilent(ClusterUnavailable):
    """An admission webhook that must be asked does not answer the API server."""


class Conflict(ClusterError):
    """Somebody else changed the object, or owns the field."""


class NotFound(ClusterError):
    """The object does not exist."""


class ClusterRefused(ClusterError):
    """The request is forbidden or invalid; the same request will be refused again."""


class NamespaceTerminating(ClusterRefused):
    """The namespace is being deleted: what is in it may be changed and deleted, nothing may come."""


class NotInSchema(ClusterRefused):
    """The CRD does not declare fields of the status that was sent; the message names them."""


class BusUnavailable(OperatorError):
    """NATS cannot be reached."""


class JournalRefused(BusUnavailable):
    """A venue without a journal gets none, as long as nobody makes room for it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
