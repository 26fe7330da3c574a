"""
What an answer of Microsoft 365 means: ONE table from status and error code to what the caller does.

Pure. Codes and statuses decide. The text of an answer is translated and changes (Graph, "Error responses and resource
types"); it is looked at for the few faults that the service gives no code of their own (`phrases`).
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

import msgspec

from proxy.graph.errors import (
    GraphChanged,
    GraphDenied,
    GraphError,
    GraphExists,
    GraphItemFault,
    GraphNotFound,
    GraphRefused,
    GraphResync,
    GraphServiceMissing,
    GraphThrottled,
    GraphUnavailable,
    GraphUnsupported,
)

__all__ = ["Duty", "Fault", "Situation", "classify", "error_codes", "retry_after_s"]

RETRY_AFTER_S_MAX = 3600.0  # an hour is the longest pause we accept on the service's word
CODES_DEPTH_MAX = 6
DOUBTFUL_TRIES_MAX = 3  # answers that are sometimes untrue, but not for long


class Duty(enum.Enum):
    """What the sender of the request does next."""

    RETRY = "retry"
    PAUSE = "pause"  # the whole bucket waits
    TOKEN = "token"  # noqa: S105 - a new token, once
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class Situation:
    """What the caller knows that the answer does not say."""

    follows_link: bool = False  # a next or delta link of the service, not a request of our making


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that is not a success. `code` is ours (kebab-case), `service_code` what the service called it."""

    duty: Duty
    code: str
    error: type[GraphError]
    status: int
    service_code: str = ""
    retry_after_s: float | None = None
    tries_max: int | None = None  # None: as long as the caller's patience lasts

    def to_error(self, what: str) -> GraphError:
        """The exception for it; `what` names the kind of request in words, never an address or a name."""
        service = f", {self.service_code}" if self.service_code else ""
        message = f"{what}: {MEANINGS[self.code]} (HTTP {self.status}{service})"
        if issubclass(self.error, GraphUnavailable | GraphThrottled):
            return self.error(message, code=self.code, retry_after_s=self.retry_after_s)
        return self.error(message, code=self.code)


@dataclass(frozen=True, slots=True)
class _Rule:
    code: str
    duty: Duty
    error: type[GraphError]
    statuses: frozenset[int] = frozenset()  # empty: any
    names: frozenset[str] = frozenset()  # empty: any; lower case
    phrases: tuple[bytes, ...] = ()  # empty: any; lower case, one of them is in the body
    tries_max: int | None = None

    def fits(self, status: int, names: set[str], body: bytes) -> bool:
        """Whether an answer is what the rule is about; `names` and `body` in lower case."""
        if self.statuses and status not in self.statuses:
            return False
        if self.phrases and not any(phrase in body for phrase in self.phrases):
            return False
        return not self.names or bool(self.names & names)


def _rule(
    code: str,
    duty: Duty,
    error: type[GraphError],
    statuses: tuple[int, ...] = (),
    names: str = "",
    phrases: tuple[bytes, ...] = (),
) -> _Rule:
    words = frozenset(names.lower().split())
    return _Rule(code, duty, error, frozenset(statuses), words, phrases)


# Phrases first, then names, from the special to the general; then statuses. First match wins.
_TABLE = (
    _rule(
        "graph-unavailable",
        Duty.RETRY,
        GraphUnavailable,
        phrases=(b"io error during request payload read",),
    ),
    _rule(
        "graph-delta-unsupported",
        Duty.GIVE_UP,
        GraphUnsupported,
        (400, 404, 405, 501),
        phrases=(b"parameter 'deltatoken' not supported", b"change tracking is not supported"),
    ),
    _rule(
        "graph-locked",
        Duty.GIVE_UP,
        GraphDenied,
        (400, 401, 403, 404, 423),
        phrases=(b"subscription within the tenant has lapsed",),
    ),
    _rule(
        "graph-service-missing",
        Duty.GIVE_UP,
        GraphServiceMissing,
        (400, 403, 404),
        phrases=(b"mysite not found", b"does not have a spo license"),
    ),
    _rule(
        "graph-object-missing",
        Duty.GIVE_UP,
        GraphNotFound,
        (404,),
        names="ResourceNotFound",
        phrases=(b"user",),  # else it is the mailbox or site that a user does not have
    ),
    _rule(
        "graph-object-missing",
        Duty.GIVE_UP,
        GraphNotFound,
        names="ErrorInvalidUser Request_ResourceNotFound",
    ),
    _rule(
        "graph-item-malware",
        Duty.GIVE_UP,
        GraphItemFault,
        names="malwareDetected virusInfected virusSuspicious",
    ),
    _rule(
        "graph-mime-conversion",
        Duty.GIVE_UP,
        GraphItemFault,
        names="ErrorMimeContentConversionFailed ErrorContentConversionFailed",
    ),
    _rule(
        "graph-item-corrupt",
        Duty.GIVE_UP,
        GraphItemFault,
        names="ErrorCorruptData ErrorInvalidRecipients ErrorCannotOpenFileAttachment"
        " ErrorItemCorrupt ErrorPropertyValidationFailure",
    ),
    _rule(
        "graph-resync",
        Duty.GIVE_UP,
        GraphResync,
        names="SyncStateNotFound SyncStateInvalid resyncRequired ErrorInvalidSyncStateData"
        " resyncChangesApplyDifferences resyncChangesUploadDifferences resyncApplyDifferences"
        " resyncUploadDifferences",
    ),
    _rule("graph-resync", Duty.GIVE_UP, GraphResync, statuses=(410,)),
    _rule(
        "graph-throttled",
        Duty.PAUSE,
        GraphThrottled,
        names="activityLimitReached ApplicationThrottled TooManyRequests throttledRequest"
        " ErrorTooManyObjectsOpened ErrorExceededConnectionCount",
    ),
    _rule("graph-throttled", Duty.PAUSE, GraphThrottled, statuses=(429, 509)),
    _rule(
        "graph-locked",
        Duty.GIVE_UP,
        GraphDenied,
        statuses=(403, 423),
        names="resourceLocked notAllowed",
    ),
    _rule("graph-locked", Duty.GIVE_UP, GraphDenied, statuses=(423,)),
    _rule(
        "graph-service-missing",
        Duty.GIVE_UP,
        GraphServiceMissing,
        statuses=(401, 403, 404),
        names="MailboxNotEnabledForRESTAPI MailboxNotSupportedForRESTAPI ResourceNotFound"
        " AuthenticationError mysiteNotFound ErrorMailboxStoreUnavailable",
    ),
    _rule("graph-signed-out", Duty.TOKEN, GraphDenied, statuses=(401,)),
    _rule(
        "graph-quota",
        Duty.GIVE_UP,
        GraphUnsupported,
        names="ErrorQuotaExceeded quotaLimitReached",
    ),
    _rule("graph-quota", Duty.GIVE_UP, GraphUnsupported, statuses=(507,)),
    _rule(
        "graph-not-found",
        Duty.GIVE_UP,
        GraphNotFound,
        names="ErrorItemNotFound ErrorSyncFolderNotFound ErrorFolderNotFound itemNotFound",
    ),
    _rule(
        "graph-unavailable",
        Duty.RETRY,
        GraphUnavailable,
        names="ErrorMailboxMoveInProgress ErrorTimeoutExpired ErrorServerBusy"
        " ErrorInternalServerTransientError serviceNotAvailable generalException"
        " ErrorInternalServerError InternalServerError",
    ),
    _rule("graph-exists", Duty.GIVE_UP, GraphExists, names="ErrorFolderExists nameAlreadyExists"),
    _rule("graph-exists", Duty.GIVE_UP, GraphExists, statuses=(409,)),
    _rule("graph-changed", Duty.GIVE_UP, GraphChanged, statuses=(412,)),
    _rule("graph-too-large", Duty.GIVE_UP, GraphItemFault, names="ErrorMessageSizeExceeded"),
    _rule("graph-too-large", Duty.GIVE_UP, GraphItemFault, statuses=(413,)),
    _rule("graph-denied", Duty.GIVE_UP, GraphDenied, statuses=(403,)),
    _rule("graph-not-found", Duty.GIVE_UP, GraphNotFound, statuses=(404,)),
    _rule("graph-unavailable", Duty.RETRY, GraphUnavailable, statuses=(408, 500, 502, 503, 504)),
    _rule("graph-unsupported", Duty.GIVE_UP, GraphUnsupported, statuses=(405, 501)),
)
_ANYTHING_ELSE = _rule("graph-refused", Duty.GIVE_UP, GraphRefused)
_EMPTY_NOT_FOUND = replace(
    _rule("graph-empty-not-found", Duty.RETRY, GraphNotFound), tries_max=DOUBTFUL_TRIES_MAX
)
_DOUBTFUL_REQUEST = replace(
    _rule("graph-refused", Duty.RETRY, GraphRefused), tries_max=DOUBTFUL_TRIES_MAX
)
_DEAD_LINK = _rule("graph-resync", Duty.GIVE_UP, GraphResync)
_PAUSE = _rule("graph-throttled", Duty.PAUSE, GraphThrottled)

MEANINGS = {
    "graph-item-malware": "the file is marked as infected and is not given out",
    "graph-mime-conversion": "the service cannot render this message as MIME",
    "graph-item-corrupt": "the service reports the item as damaged",
    "graph-delta-unsupported": "the service keeps no track of changes here",
    "graph-object-missing": "there is no such user or group any more",
    "graph-resync": "the change token is no longer known; the collection is read afresh",
    "graph-throttled": "the service asks for fewer requests",
    "graph-locked": "the site or item is locked; ask its administrator",
    "graph-service-missing": "the user has no such service",
    "graph-signed-out": "the token was refused twice; check the application's secret and consent",
    "graph-quota": "the mailbox or site is over its quota, and the service refuses this call",
    "graph-unavailable": "the service failed for too long; try again later",
    "graph-denied": "access denied; check the application's permissions and access policies",
    "graph-not-found": "it is not there",
    "graph-empty-not-found": "the service keeps saying not found without a reason",
    "graph-exists": "something with this name or identity is there already",
    "graph-changed": "the item changed meanwhile",
    "graph-too-large": "the service takes nothing so large",
    "graph-unsupported": "the service does not offer this call",
    "graph-refused": "the service found the request wrong; this is a fault of the program",
}


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    situation: Situation | None = None,
) -> Fault:
    """
    Say what an unsuccessful answer means.

    Args:
        status: HTTP status, 300 or above.
        headers: of the answer; names in any case if the mapping is case-insensitive, else lower case.
        body: as far as read; JSON, HTML or nothing.
        now: seconds since 1970, for Retry-After in the date form.
        situation: what else is known of the request.

    Source: Graph pages "Error responses", "Throttling guidance", "driveItem: delta" (2026); docs/workloads.md.
    """
    known = situation or Situation()
    names = error_codes(body)
    pause = retry_after_s(headers, now)
    rule = _match(status, names, body)
    if status == 503 and pause is not None:
        rule = _PAUSE  # an overloaded service that names a time means everybody
    elif status == 400 and rule is _ANYTHING_ELSE:
        if known.follows_link:
            rule = _DEAD_LINK  # malformed or forgotten tokens come back as plain 400
        elif "invalidrequest" in {name.lower() for name in names}:
            rule = _DOUBTFUL_REQUEST  # files answer so now and then; the next try succeeds
    service_code = names[-1][:80] if names else ""
    return Fault(rule.duty, rule.code, rule.error, status, service_code, pause, rule.tries_max)


def _match(status: int, names: list[str], body: bytes) -> _Rule:
    if status == 404 and not body:
        return _EMPTY_NOT_FOUND  # seen for items that exist
    wanted, text = {name.lower() for name in names}, body.lower()
    fitting = (rule for rule in _TABLE if rule.fits(status, wanted, text))
    return next(fitting, _ANYTHING_ELSE)


def error_codes(body: bytes) -> list[str]:
    """The error codes in an error body, the outermost first; empty for HTML, nothing or another shape."""
    try:
        document = msgspec.json.decode(body) if body[:1] in (b"{", b" ", b"\r", b"\n") else None
    except msgspec.DecodeError:
        return []
    node = document.get("error") if isinstance(document, dict) else None
    codes: list[str] = []
    for _ in range(CODES_DEPTH_MAX):
        if not isinstance(node, dict):
            break
        code = node.get("code")
        if isinstance(code, str) and code:
            codes.append(code)
        node = next((node[key] for key in ("innerError", "innererror") if key in node), None)
    return codes


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """
    Seconds of Retry-After, 0 .. RETRY_AFTER_S_MAX; None if there is none or it makes no sense.

    The date form is measured against the answer's own Date, so that a wrong clock here does no harm.
    """
    text = (headers.get("retry-after") or headers.get("Retry-After") or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        moment = _http_date(text)
        if moment is None:
            return None
        sent = _http_date(headers.get("date") or headers.get("Date") or "")
        seconds = moment - (now if sent is None else sent)
    if seconds != seconds:  # NaN parses as a float
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX)


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
