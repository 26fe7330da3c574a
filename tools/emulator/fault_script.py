"""
Fault scripts: a list of rules `when` / `do`; the first rule that matches a call wins.

Every rule is deterministic: it counts the calls that match it, or draws with a seed. The count
and the draw move on with each match, whether the rule fires or not.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Kind = Literal["read", "write", "batch", "export", "import", "upload", "download", "token"]
PageEdit = Literal["empty_page", "repeat_nextlink", "duplicate_items", "reorder", "drop_tombstone"]


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    Which calls a rule is for; what is not given matches everything.

    Args:
        method: HTTP method.
        path: path behind the version prefix; `*` is one segment, a last `**` any number of them.
        kind: `write` is every call that changes something, imports and uploads too; `token` is all
            of sign-in, which a rule without a kind leaves alone.
        mailbox: id or principal name of the user whose Exchange data it is.
        app: `backup` or `restore`.
        nth: the nth matching call, from 1, or several of them.
        every: each nth matching call.
        p: probability in [0, 1], drawn with `seed`.
        times: the rule fires so often at most.
        once: the same as `times` 1.
        skip: it does not fire for the first `skip` matching calls.
    """

    method: str | None = None
    path: str | None = None
    kind: Kind | None = None
    mailbox: str | None = None
    app: str | None = None
    nth: int | list[int] | None = None
    every: int | None = None
    p: float | None = None
    seed: int = 0
    times: int | None = None
    once: bool = False
    skip: int = 0


class Do(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    What happens to the call.

    Args:
        status: answer so instead of doing it; with `commit` it is done first.
        code: `error.code` of that answer.
        message: `error.message` of that answer.
        inner: members of its `innerError`.
        headers: headers of that answer.
        body: `json` (the error envelope), `html`, `text` or `empty`.
        commit: do the call, whatever is answered.
        then: `drop` closes the connection without an answer; without `commit` nothing is done.
        delay_s: real seconds to wait before.
        truncate_at: cut the body after this fraction; Content-Length stays full.
        drip_s: real seconds over which the body comes.
        chunked: send no Content-Length.
        corrupt: change one byte in the middle of the body; hashes and lengths stay.
        page: change what a page of a listing holds.
        control: control calls to make before the call, each `{call: name, ...arguments}`.
    """

    status: int | None = None
    code: str = "serviceNotAvailable"
    message: str = "The emulator was told to fail."
    inner: dict[str, Any] = {}
    headers: dict[str, str] = {}
    body: Literal["json", "html", "text", "empty"] = "json"
    commit: bool = False
    then: Literal["drop"] | None = None
    delay_s: float = 0.0
    truncate_at: float | None = None
    drip_s: float = 0.0
    chunked: bool = False
    corrupt: bool = False
    page: PageEdit | None = None
    control: list[dict[str, Any]] = []


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule of a script."""

    when: When
    do: Do


class Event(msgspec.Struct, frozen=True):
    """
    A call as rules see it.

    `segments` are those of its path, `owner` names of its mailbox; `fingerprint` tells creates
    that would make doubles from others.
    """

    method: str
    segments: Sequence[str]
    kinds: frozenset[str]
    app: str = ""
    owner: frozenset[str] = frozenset()
    fingerprint: str = ""


class _Armed:
    """A rule with its counts."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.matched = 0
        self.fired = 0
        self._random = random.Random(rule.when.seed)
        self._path = None if rule.when.path is None else rule.when.path.strip("/").split("/")

    def take(self, event: Event) -> bool:
        """True when the rule fires for `event`."""
        when = self.rule.when
        if not self._matches(event):
            return False
        self.matched += 1
        drawn = self._random.random() if when.p is not None else 0.0
        limit = 1 if when.once else when.times
        wanted = [when.nth] if isinstance(when.nth, int) else when.nth
        fires = (
            self.matched > when.skip
            and (limit is None or self.fired < limit)
            and (wanted is None or self.matched in wanted)
            and (when.every is None or self.matched % when.every == 0)
            and (when.p is None or drawn < when.p)
        )
        self.fired += fires
        return fires

    def _matches(self, event: Event) -> bool:
        when = self.rule.when
        return (
            when.method in (None, event.method)
            and when.app in (None, event.app)
            and ("token" not in event.kinds if when.kind is None else when.kind in event.kinds)
            and (when.mailbox is None or when.mailbox.lower() in event.owner)
            and (self._path is None or _path_matches(self._path, event.segments))
        )


def _path_matches(pattern: Sequence[str], segments: Sequence[str]) -> bool:
    if pattern and pattern[-1] == "**":
        pattern, segments = pattern[:-1], segments[: len(pattern) - 1]
    return len(pattern) == len(segments) and all(
        wanted == "*" or wanted.lower() == given.lower()
        for wanted, given in zip(pattern, segments, strict=True)
    )


class FaultScript:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[_Armed] = []

    def load(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """
        Replace the rules; their counts start at nothing.

        Raises:
            ValueError: a rule has an unknown or wrong member.
        """
        self._rules = [_Armed(rule) for rule in msgspec.convert(rules, list[Rule])]

    def clear(self) -> None:
        """Forget all rules."""
        self._rules = []

    def take(self, event: Event) -> Do | None:
        """What is to happen to a call; None when no rule fires."""
        return next((armed.rule.do for armed in self._rules if armed.take(event)), None)

    def fired(self) -> list[int]:
        """How often each rule has fired."""
        return [armed.fired for armed in self._rules]
