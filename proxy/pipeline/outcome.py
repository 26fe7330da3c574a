"""
What became of an item that is not stored as it should be.

Skipped items have a cause of the closed list below: the service cannot give the item, and asking again would not
change that. Failed items have the code of an error and are tried again in the next session. Both are named in the
session; neither costs the other items anything.
"""

from typing import Literal, get_args

from engine.errors import BackupError
from proxy.contract import ItemOutcome

__all__ = ["SKIP_CAUSES", "SkipCause", "cause_of", "failed", "is_warning", "skipped"]

SkipCause = Literal[
    "service-not-provisioned",
    "malware",
    "item-corrupt",
    "stored-without-mime",
    "stored-without-stream",
    "stored-as-stream",
    "export-not-offered",
    "settings-unreadable",
    "attachment-unreadable",
    "notebook-content",
    "unknown-kind",
    "would-send-mail",
    "rule-folder-missing",
    "rule-incomplete",
    "rule-forwards-outside",
]

SKIP_CAUSES: dict[SkipCause, str] = {
    "service-not-provisioned": "the user has no mailbox or no drive",
    "malware": "the service marks the file as infected and does not give it out",
    "item-corrupt": "the service reports the item as damaged",
    "stored-without-mime": "the service cannot render the message as MIME: kept as JSON with its body",
    "attachment-unreadable": "the service cannot open an attachment: the item is kept without its bytes",
    "stored-without-stream": "the service does not export this item: it is kept without its export stream",
    "stored-as-stream": "the service gives this item as an export stream alone: it can be restored, not read",
    "export-not-offered": "the mailbox gives no export streams: items are kept without them",
    "settings-unreadable": "rules, categories or settings of the mailbox cannot be read",
    "notebook-content": "a notebook file that the service does not give out",
    "unknown-kind": "an item that is neither file, folder, notebook nor shortcut",
    "would-send-mail": "replacing this meeting would send cancellations to its attendees",
    "rule-folder-missing": "the rule is made disabled, without the action whose folder is not there",
    "rule-incomplete": "the rule is made disabled: the service does not show all of it",
    "rule-forwards-outside": "the rule is made disabled: it sends mail out of the organization"
    " (--settings forwarding)",
}
assert set(SKIP_CAUSES) == set(get_args(SkipCause)), "every cause has its explanation"

# Told, but no reason for a warning: there is nothing that could have been kept.
_HARMLESS: frozenset[str] = frozenset({"service-not-provisioned"})

NAME_CHARACTERS_MAX = 200
DETAIL_CHARACTERS_MAX = 300
_BY_CODE: dict[str, SkipCause] = {
    "graph-item-malware": "malware",
    "graph-item-corrupt": "item-corrupt",
}


def skipped(item: str, name: str, cause: SkipCause, detail: str = "") -> ItemOutcome:
    """An item left out, or kept in a lesser form, for a cause of the list."""
    return _outcome(item, name, "skipped", cause, detail or SKIP_CAUSES[cause])


def failed(item: str, name: str, error: BackupError) -> ItemOutcome:
    """An item that could not be read; one the service cannot give counts as skipped."""
    cause = cause_of(error)
    if cause is not None:
        return skipped(item, name, cause)
    return _outcome(item, name, "failed", error.code, error.message)


def is_warning(outcome: ItemOutcome) -> bool:
    """Whether something is missing because of it."""
    return outcome.cause not in _HARMLESS


def cause_of(error: BackupError) -> SkipCause | None:
    """The cause to skip an item for, if the error is one that trying again does not help."""
    return _BY_CODE.get(error.code)


def _outcome(
    item: str, name: str, result: Literal["skipped", "failed"], cause: str, detail: str
) -> ItemOutcome:
    return ItemOutcome(
        item=item,
        name=name[:NAME_CHARACTERS_MAX],
        result=result,
        cause=cause,
        detail=detail[:DETAIL_CHARACTERS_MAX],
    )
