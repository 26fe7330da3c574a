"""Settings as rows of a restore: which parts a word names, what is the same, what a rule becomes."""

import json
from typing import Any

import pytest

from engine.errors import UsageError
from proxy.restore.setting_rows import (
    content_version,
    new_rule,
    parse_settings,
    setting_key,
    setting_rows,
)


def person(address: str) -> dict[str, Any]:
    return {"emailAddress": {"address": address}}


def rule(**more: Any) -> dict[str, Any]:
    return {"id": "1", "displayName": "r", "sequence": 1, "isEnabled": True, "actions": {}} | more


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("", ()),
        ("all", ("rules", "categories", "overrides", "mailbox")),
        ("forwarding", ("forwarding", "rules")),
        (" replies , rules,rules", ("replies", "rules")),
    ],
)
def test_words(words: str, parts: tuple[str, ...]) -> None:
    """`all` has nothing that writes to others by itself."""
    assert parse_settings(words) == parts


def test_an_unknown_word_is_named() -> None:
    with pytest.raises(UsageError, match="'signature' is no part"):
        parse_settings("rules,signature")


@pytest.mark.parametrize(
    ("actions", "more", "made", "cause"),
    [
        ({"moveToFolder": "a", "delete": None}, {}, {"moveToFolder": "A", "delete": None}, None),
        (
            {"moveToFolder": "gone", "markAsRead": True},
            {},
            {"markAsRead": True},
            "rule-folder-missing",
        ),
        ({"copyToFolder": "gone"}, {}, {"stopProcessingRules": True}, "rule-folder-missing"),
        ({"markAsRead": True}, {"isReadOnly": True}, {"markAsRead": True}, "rule-incomplete"),
        ({"markAsRead": True}, {"hasError": True}, {"markAsRead": True}, "rule-incomplete"),
    ],
)
def test_a_rule_that_would_do_something_else_is_off(
    actions: dict[str, Any], more: dict[str, Any], made: dict[str, Any], cause: str | None
) -> None:
    found = new_rule(rule(actions=actions, **more), {"a": "A"}.get, "example.com", forwards=True)
    assert found.members["actions"] == made
    assert found.members["isEnabled"] is (cause is None)
    assert found.cause == cause
    assert not {"id", "isReadOnly", "hasError"} & found.members.keys()


@pytest.mark.parametrize("action", ["forwardTo", "forwardAsAttachmentTo", "redirectTo"])
@pytest.mark.parametrize(
    ("address", "outside"),
    [
        ("bob@Example.com", False),
        ("bob@example.org", True),
        ("bob@example.com.evil.org", True),
        ("bob@mail.example.com", True),
        ("/o=Org/cn=bob", True),
        ("", True),
    ],
)
def test_a_rule_that_sends_mail_outside_is_off_unless_asked_for(
    action: str, address: str, outside: bool
) -> None:
    """What is not surely of the own domain is outside; one such address is enough."""
    kept = rule(actions={action: [person("ann@example.com"), person(address)]})
    found = new_rule(kept, {}.get, "example.com", forwards=False)
    assert (found.cause, found.members["isEnabled"]) == (
        ("rule-forwards-outside", False) if outside else (None, True)
    )
    asked = new_rule(kept, {}.get, "example.com", forwards=True)
    assert (asked.cause, asked.members["isEnabled"]) == (None, True)
    assert new_rule(kept, {}.get, "", forwards=False).cause == "rule-forwards-outside"


def test_what_is_not_set_is_as_if_it_were_not_there() -> None:
    """The service shows members that nobody set; order and annotations say nothing."""
    bare = {"conditions": {"subjectContains": ["x"]}}
    shown = {
        "exceptions": None,
        "conditions": {"a@odata.type": "y", "hasAttachments": False, "subjectContains": ["x"]},
    }
    names = ("conditions", "exceptions")
    assert content_version(bare, names) == content_version(shown, names)
    assert content_version(bare, names) != content_version({"conditions": {}}, names)


def test_keys_are_what_a_person_would_call_the_same() -> None:
    assert setting_key("categories", {"displayName": "Blue"}) == setting_key(
        "categories", {"displayName": "BLUE", "color": "x"}
    )
    assert setting_key("rules", rule()) == setting_key("rules", rule(sequence=2))
    assert setting_key("rules", rule()) != setting_key("rules", rule(displayName="s"))


def test_replies_are_not_switched_on_unasked() -> None:
    """Texts and times alone; the status only with `replies-on`, nothing without either."""
    replies = {"status": "alwaysEnabled", "internalReplyMessage": "x", "a@odata.type": "y"}
    kept = {
        "settings": json.dumps({"automaticRepliesSetting": replies, "timeZone": "UTC"}).encode()
    }

    def found(words: str) -> list[Any]:
        rows = setting_rows("u/settings", kept, parse_settings(words)).items.get(b"mailbox", [])
        return [json.loads(row.meta) for row in rows]

    text = {"internalReplyMessage": "x"}
    assert found("replies") == [{"automaticRepliesSetting": text}]
    assert found("replies-on") == [{"automaticRepliesSetting": text | {"status": "alwaysEnabled"}}]
    assert found("all") == [{"timeZone": "UTC"}]
    assert found("rules") == []
