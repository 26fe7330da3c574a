"""
Errors of object storage services as ours.

obstore gives few classes and a text that holds the HTTP status and the service's own code; both are read here and nowhere
else. Texts of services never get into messages: they may hold account names and parts of requests.
"""

import re
from dataclasses import dataclass

from obstore.exceptions import AlreadyExistsError, PreconditionError, UnauthenticatedError

from engine.errors import (
    BackupError,
    Conflict,
    Denied,
    Locked,
    NotFound,
    Throttled,
    Unavailable,
    Unsupported,
    UsageError,
)

_STATUS = re.compile(
    r"(?:status code|\(code): (\d{3})"
)  # of a request, of a deletion within a bulk of them
_CODE = re.compile(r"<Code>(\w+)</Code>")
_PAST_THE_END = "Wanted range starting at"  # obstore's own check of what was answered
_WHOLE_ANSWERED = "Received non-partial response"
_IMMUTABLE = "is immutable due to"  # all that Azure's bulk deletions tell of the code
_METADATA_SERVICE = "//169.254."  # where virtual machines ask for credentials
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN_CREDENTIALS = {
    "AuthenticationFailed",
    "AuthorizationFailure",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidClientTokenId",
    "InvalidToken",
    "NoAuthenticationInformation",
    "SignatureDoesNotMatch",
}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_PROTECTED = {
    "BlobImmutableDueToLegalHold",
    "BlobImmutableDueToPolicy",
    "SnapshotOperationNotSupportedForProtectedBlob",
}
_BUSY = {"ServerBusy", "SlowDown", "SlowDownWrite", "SlowDownRead", "TooManyRequests"}


@dataclass(frozen=True, slots=True)
class Service:
    """
    What differs between the services, for messages.

    Attributes:
        bucket: what the service calls a place for objects. credentials: how they are given.
    """

    name: str
    bucket: str
    credentials: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a failed request came to: HTTP status (None: no answer), the service's own code, the client's text."""

    status: int | None
    code: str
    text: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Answer":
        """From an error of obstore."""
        text = str(error)
        status, code = _STATUS.search(text), _CODE.search(text)
        by_class = next((number for kind, number in _STATUS_OF if isinstance(error, kind)), None)
        if code is None and _IMMUTABLE in text:
            return cls(409, "BlobImmutableDueToPolicy", text)
        return cls(int(status[1]) if status else by_class, code[1] if code else "", text)

    @property
    def past_the_end(self) -> bool:
        """Whether a range began behind the end of its object."""
        return self.status == 416 or _PAST_THE_END in self.text

    @property
    def range_ignored(self) -> bool:
        """Whether the service answered with the whole object, as HTTP allows."""
        return _WHOLE_ANSWERED in self.text


_STATUS_OF = (
    (FileNotFoundError, 404),
    (PreconditionError, 412),
    (AlreadyExistsError, 409),
    (UnauthenticatedError, 401),
)


def translated(answer: Answer, service: Service, where: str, what: str) -> BackupError:
    """
    A failed request as one of ours.

    Args:
        where: the store, for people. what: the object, or the store if the request was about no single one.
    """
    status, code = answer.status, answer.code
    if code in _NO_BUCKET:
        return UsageError(
            f"the {service.bucket} of {where} does not exist: make it, or check name, endpoint and account",
            code="bucket-not-found",
        )
    if code in _WRONG_REGION or "without LOCATION" in answer.text:
        return UsageError(
            f"the {service.bucket} of {where} lies in another region: set AWS_REGION to its region",
            code="store-region",
        )
    if status == 404:
        return NotFound(f"{what} is not in the store", code="blob-not-found")
    refused = _denied(answer, service, where)
    if refused is not None:
        return refused
    if status == 412 or code == "BlobAlreadyExists":
        return Conflict(f"{what} exists or was changed by another writer", code="blob-exists")
    if code in _PROTECTED:
        return Locked(f"{what} is protected from changes by a policy: wait", code="blob-locked")
    return _unavailable(status, code, where)


def _denied(answer: Answer, service: Service, where: str) -> Denied | None:
    if answer.code in _EXPIRED:
        return Denied(
            f"the credentials for {where} have expired: renew them ({service.credentials})",
            code="credentials-expired",
        )
    if answer.status == 401 or answer.code in _UNKNOWN_CREDENTIALS:
        return Denied(
            f"{service.name} does not accept the credentials for {where}: check {service.credentials}",
            code="credentials-refused",
        )
    if _METADATA_SERVICE in answer.text:
        return missing_credentials(service, where)
    if answer.status == 403:
        return Denied(
            f"the credentials have no right to do this in {where}: see docs/operations.md for the rights needed",
            code="store-denied",
        )
    return None


def missing_credentials(service: Service, where: str) -> Denied:
    """No credentials were found."""
    return Denied(
        f"there are no credentials for {where}: set {service.credentials}",
        code="credentials-missing",
    )


def _unavailable(status: int | None, code: str, where: str) -> BackupError:
    if status in (429, 503) or code in _BUSY:
        return Throttled(
            f"{where} asks for fewer requests: try again later", code="store-throttled"
        )
    if status == 507:
        return Unavailable(f"{where} is full: free some space and run again", code="store-full")
    if status in (405, 501):
        return Unsupported(
            f"{where} lacks an operation that Strongroom needs: use another storage service",
            code="store-unfit",
        )
    if status == 409:  # two conditional writes met, neither counts yet
        return Unavailable(f"{where} is busy with the same object", code="store-unavailable")
    reason = f"answered {status}" if status else "does not answer or broke off"
    return Unavailable(
        f"{where} {reason}: check network and endpoint, then run again", code="store-unavailable"
    )
