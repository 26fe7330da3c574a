"""
How long one request is tried again, and how long to wait before the next attempt. Pure: time comes in as numbers.

Time is the limit, not a count: a service that is away for two minutes must not fail an item, and one that answers
errors at once must not be asked a hundred times.

A request that must not be executed twice is tried again only where the service surely did not execute it: no connection, a
throttling answer, a refused token. Everything else that is no clear answer is `GraphAnswerLost`: the caller looks.
"""

import random

from proxy.graph.errors import GraphAnswerLost, GraphError, GraphUnavailable
from proxy.graph.faults import Duty, Fault

__all__ = ["Persistence", "pause_s"]

BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 30.0
THROTTLE_PATIENCE_S = 3600.0  # a throttled bucket recovers; giving up would only start it over
PAUSE_WITHOUT_WORD_S = 5.0  # a throttling answer without Retry-After
TOKEN_TRIES_MAX = 1
NOT_SENT = frozenset({"graph-no-connection", "graph-sign-in-unavailable"})
RETRIED_CODES = NOT_SENT | {"graph-no-answer", "graph-connection-cut", "graph-bad-answer"}
REFUSED_STATUSES = frozenset(
    {429}
)  # other answers that say "later" may come after the work was done

_RANDOM = random.Random()  # noqa: S311 - spreads retries, guards nothing


def pause_s(fault: Fault) -> float:
    """How long the bucket pauses for a throttling answer, in seconds."""
    return PAUSE_WITHOUT_WORD_S if fault.retry_after_s is None else fault.retry_after_s


class Persistence:
    """The attempts at one request: after each failure it says how long to wait, or raises."""

    def __init__(self, what: str, patience_s: float, now: float, *, once: bool = False) -> None:
        """`once`: the request must not be executed a second time."""
        self._what = what
        self._patience_s = patience_s
        self._once = once
        self._began = now
        self._tries = 0
        self._token_tries = 0

    def after_error(self, error: GraphUnavailable, now: float) -> float:
        """Seconds to wait after a connection that failed; raises `error` when that does not help."""
        if error.code not in RETRIED_CODES:
            raise error
        if self._once and error.code not in NOT_SENT:
            raise self._lost() from error
        return self._backoff(error, now, None)

    def after_fault(self, fault: Fault, now: float) -> float:
        """Seconds to wait after an unsuccessful answer; raises its error when that does not help."""
        self._check(fault)
        if self._once and not _surely_refused(fault):
            raise self._lost()
        if fault.duty is Duty.TOKEN:
            return 0.0
        if fault.duty is Duty.PAUSE:
            # The bucket is fenced: the wait is done there, for everybody.
            if now + pause_s(fault) > self._began + max(THROTTLE_PATIENCE_S, self._patience_s):
                raise fault.to_error(self._what)
            return 0.0
        return self._backoff(fault.to_error(self._what), now, fault.retry_after_s)

    def _check(self, fault: Fault) -> None:
        self._token_tries += fault.duty is Duty.TOKEN
        tries_max = 1 if self._once and fault.tries_max else fault.tries_max
        spent = tries_max is not None and self._tries + 1 >= tries_max
        if fault.duty is Duty.GIVE_UP or self._token_tries > TOKEN_TRIES_MAX or spent:
            raise fault.to_error(self._what)

    def _backoff(self, error: GraphError, now: float, pause: float | None) -> float:
        longest = min(BACKOFF_FIRST_S * 2 ** min(self._tries, 10), BACKOFF_MAX_S)
        self._tries += 1
        delay = max(_RANDOM.uniform(longest / 2, longest), pause or 0.0)
        if now + delay > self._began + self._patience_s:
            raise error
        return delay

    def _lost(self) -> GraphAnswerLost:
        return GraphAnswerLost(
            f"{self._what}: the service may have done it, but its answer did not come.",
            code="graph-answer-lost",
        )


def _surely_refused(fault: Fault) -> bool:
    return fault.duty is Duty.TOKEN or fault.status in REFUSED_STATUSES
