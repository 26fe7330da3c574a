"""Retention policies as people write them: TOML (docs/operations.md, "Retention")."""

import tomllib
from collections.abc import Mapping
from typing import Any

from engine.errors import UsageError
from engine.periods import Period, parse_period
from engine.retention import BUCKETS, DROP_SHARE_MAX, SILENCE_MAX, Policy, Rule

COUNT_MAX = 100_000
FOR_EVER = "for ever"
_TOP_KEYS = ("drop_share_max", "silence_max", "items", "rule")
_RULE_KEYS = ("series", "except_series", "window", "last", *BUCKETS, "last_state")
_KEEPING_KEYS = ("window", "last", *BUCKETS)


def parse_policy(text: str) -> Policy:
    """The policy of a TOML document. UsageError names the line or the key."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _invalid(f"the policy is not TOML: {error}") from None
    _check_keys(document, _TOP_KEYS, "the policy")
    rules = document.get("rule", [])
    if not isinstance(rules, list) or not rules:
        raise _invalid("the policy has no rule: write at least one [[rule]]")
    share = document.get("drop_share_max", DROP_SHARE_MAX)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise _invalid("drop_share_max: write a number above 0, at most 1")
    silence = SILENCE_MAX
    if "silence_max" in document:
        silence = _period(document, "silence_max", "the policy")
    return Policy(
        tuple(_rule(rule, f"rule {number}") for number, rule in enumerate(rules, 1)),
        _item_period(document),
        float(share),
        silence,
    )


def _item_period(document: Mapping[str, Any]) -> Period | None:
    if "items" not in document:
        return None
    items = document["items"]
    _check_keys(items, ("period",), "[items]")
    if "period" not in items:
        raise _invalid("[items]: period is missing")
    return _period(items, "period", "[items]")


def _rule(table: Any, where: str) -> Rule:
    _check_keys(table, _RULE_KEYS, where)
    if not any(key in table for key in _KEEPING_KEYS):
        raise _invalid(f"{where} keeps nothing: give at least one of {', '.join(_KEEPING_KEYS)}")
    last_state = None
    if table.get("last_state", FOR_EVER) != FOR_EVER:
        last_state = _period(table, "last_state", where)
    return Rule(
        series=_patterns(table, "series", where) if "series" in table else ("*",),
        except_series=_patterns(table, "except_series", where) if "except_series" in table else (),
        window=_period(table, "window", where) if "window" in table else None,
        last=_count(table, "last", where) if "last" in table else 0,
        counts=tuple((kind, _count(table, kind, where)) for kind in BUCKETS if kind in table),
        last_state=last_state,
    )


def _check_keys(table: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(table, Mapping):
        raise _invalid(f"{where} is no table")
    for key in table:
        if key not in known:
            raise _invalid(f"{where}: there is no key {key!r}; known are {', '.join(known)}")


def _period(table: Mapping[str, Any], key: str, where: str) -> Period:
    value = table[key]
    if not isinstance(value, str):
        raise _invalid(f'{where}: {key}: write a text, for example "30 days"')
    try:
        return parse_period(value)
    except UsageError as error:
        raise _invalid(f"{where}: {key}: {error.message}") from None


def _count(table: Mapping[str, Any], key: str, where: str) -> int:
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= COUNT_MAX:
        raise _invalid(f"{where}: {key}: write a whole number from 1 to {COUNT_MAX}")
    return value


def _patterns(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = table[key]
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        raise _invalid(f"{where}: {key}: write a name or pattern, or a list of them")
    return tuple(values)


def _invalid(message: str) -> UsageError:
    return UsageError(message, code="policy-invalid")
