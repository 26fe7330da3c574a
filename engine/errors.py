"""
The error tree of Strongroom: a class says what the caller must do, a code says what happened.

BackupError
├── UsageError      fix the call, the option or the file
├── NotFound        decide: it is not there
├── Conflict        read again and retry
│   └── Fenced      give up this write session; begin again
├── Unavailable     later (retry_after_s when known)
│   └── Throttled
├── Denied          a person has to act: consent, rights, passphrase
│   ├── Locked      wait until it expires
│   └── ScopeClosed attach the key of the scope; none will come if it was shredded
├── Corruption      never retry, never overwrite; quarantine and report what is affected
├── Unsupported     a newer program is needed
└── InternalError   our bug

Codes are stable kebab-case strings, append-only, listed in docs/errors.md. Messages are for people: one line that says
what to do. Neither holds secrets, tokens or item text. Foreign exceptions are translated once, where the I/O is done.
"""


class BackupError(Exception):
    """Root of every error that Strongroom raises on purpose."""

    duty = "read the message"

    def __init__(self, message: str, *, code: str, **context: str | int) -> None:
        # file names in messages may hold what no terminal, log or JSON can
        self.message = message.encode("utf-8", "replace").decode()
        super().__init__(self.message)
        self.code = code
        self.context = context

    def __str__(self) -> str:
        return self.message


class UsageError(BackupError):
    """The call or the settings are wrong."""

    duty = "fix the call"


class NotFound(BackupError):
    """What was named is not there."""

    duty = "decide"


class Conflict(BackupError):
    """Somebody else changed it first."""

    duty = "read again and retry"


class Fenced(Conflict):
    """This write session lost its turn."""

    duty = "begin a new turn"


class Unavailable(BackupError):
    """The other side cannot answer now."""

    duty = "retry later"

    def __init__(
        self,
        message: str,
        *,
        code: str,
        retry_after_s: float | None = None,
        **context: str | int,
    ) -> None:
        super().__init__(message, code=code, **context)
        self.retry_after_s = retry_after_s


class Throttled(Unavailable):
    """The other side asks for fewer calls."""


class Denied(BackupError):
    """A person has to give a right, a consent or a passphrase."""

    duty = "a person acts"


class Locked(Denied):
    """Protected until a time; waiting is all that helps."""

    duty = "wait"


class ScopeClosed(Denied):
    """Sealed under the keys of a scope that this machine does not have, or that nobody has any more."""

    duty = "attach its key, or live without"


class Corruption(BackupError):
    """Stored bytes are not what was stored."""

    duty = "never retry, never overwrite, report"


class Unsupported(BackupError):
    """Written by a newer program, or a feature this build lacks."""

    duty = "use a newer program"


class InternalError(BackupError):
    """A broken invariant of ours."""

    duty = "report the bug"

    def __init__(self, message: str, *, code: str = "internal-error", **context: str | int) -> None:
        super().__init__(message, code=code, **context)
