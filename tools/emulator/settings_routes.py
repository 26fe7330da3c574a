"""
Exchange: settings of a mailbox, rules, categories, focused-inbox overrides, and ids translated.
"""

from collections.abc import Callable
from typing import Any

from tools.emulator import exchange
from tools.emulator.call import Call
from tools.emulator.errors import GraphError, bad_request
from tools.emulator.mailbox_routes import items
from tools.emulator.mailbox_settings import MailboxSettings, one
from tools.emulator.paging import list_page
from tools.emulator.reply import Reply, json_reply
from tools.emulator.route import Handler, Method, Route

TRANSLATED_MAX = 1000
_ID_TYPES = ("restId", "restImmutableEntryId", "ewsId")


def _settings(call: Call) -> MailboxSettings:
    return call.mailbox().settings


async def get_settings(call: Call) -> Reply:
    """GET /users/{user}/mailboxSettings"""
    context = {"@odata.context": call.context("mailboxSettings")}
    return json_reply(context | _settings(call).settings)


async def change_settings(call: Call) -> Reply:
    """PATCH /users/{user}/mailboxSettings"""
    _settings(call).change(call.body())
    return await get_settings(call)


Rows = dict[str, dict[str, Any]]
Pick = Callable[[MailboxSettings], Rows]
Add = Callable[[MailboxSettings, dict[str, Any]], dict[str, Any]]
Change = Callable[[MailboxSettings, str, dict[str, Any]], dict[str, Any]]


def _collection(
    path: str, pick: Pick, add: Add, change: Change, roles: tuple[str, str]
) -> list[Route]:
    """The calls on one kind of setting: list, get, create, change, delete."""
    entity = path.rpartition("/")[2]

    def answer(call: Call, row: dict[str, Any], status: int = 200) -> Reply:
        return json_reply({"@odata.context": call.context(f"{entity}/$entity")} | row, status)

    async def listed(call: Call) -> Reply:
        _check_inbox(call)
        rows = list(pick(_settings(call)).values())
        return json_reply(list_page(call, rows, dict, entity, exchange.page_size(call, 100)))

    async def got(call: Call) -> Reply:
        return answer(call, one(pick(_settings(call)), call.params["one"]))

    async def created(call: Call) -> Reply:
        _check_inbox(call)
        body = call.body()
        _check_targets(call, body)
        return answer(call, add(_settings(call), body), 201)

    async def changed(call: Call) -> Reply:
        body = call.body()
        _check_targets(call, body)
        return answer(call, change(_settings(call), call.params["one"], body))

    async def deleted(call: Call) -> Reply:
        found = pick(_settings(call))
        one(found, call.params["one"])
        del found[call.params["one"]]
        return Reply(204)

    read, write = roles
    calls: list[tuple[str, Handler, Method]] = [
        (path, listed, "GET"),
        (path, created, "POST"),
        (path + "/{one}", got, "GET"),
        (path + "/{one}", changed, "PATCH"),
        (path + "/{one}", deleted, "DELETE"),
    ]
    return [
        Route(
            template, handler, "mail", (write,) if method != "GET" else (read, write), method=method
        )
        for template, handler, method in calls
    ]


def _check_inbox(call: Call) -> None:
    """Rules belong to the inbox."""
    if "folder" in call.params:
        folder = call.mailbox().folder(call.params["folder"])
        if folder.well_known != "inbox":
            raise bad_request("Only the inbox has rules.", "ErrorInvalidRequest")


def _check_targets(call: Call, body: dict[str, Any]) -> None:
    """A rule that moves or copies needs a folder which exists."""
    actions = body.get("actions")
    for name in ("moveToFolder", "copyToFolder"):
        target = actions.get(name) if isinstance(actions, dict) else None
        if target is not None and str(target) not in call.mailbox().folders:
            raise bad_request("The folder of the rule does not exist.", "ErrorItemNotFound")


async def translate_ids(call: Call) -> Reply:
    """POST /users/{user}/translateExchangeIds"""
    body = call.body()
    given, source, target = (
        body.get("inputIds"), body.get("sourceIdType"), body.get("targetIdType"),
    )  # fmt: skip
    if not isinstance(given, list) or not 1 <= len(given) <= TRANSLATED_MAX:
        raise bad_request(f"Between 1 and {TRANSLATED_MAX} ids can be translated.")
    if source not in _ID_TYPES or target not in _ID_TYPES:
        raise GraphError(501, "NotImplemented", "The emulator does not know this form of ids.")
    found = items(call)
    value = []
    for key in given:
        try:
            item = found.item(_plain(str(key)))
        except GraphError as error:
            details = {"code": error.code, "message": error.message}
            value.append({"sourceId": key, "errorDetails": details})
            continue
        shown = item.key if target == "restImmutableEntryId" else item.movable
        if target == "ewsId":
            shown = shown.replace("-", "/").replace("_", "+")
        value.append({"sourceId": key, "targetId": shown})
    context = call.context("Collection(microsoft.graph.convertIdResult)")
    return json_reply({"@odata.context": context, "value": value})


def _plain(key: str) -> str:
    """An id of either alphabet in that of REST."""
    return key.replace("/", "-").replace("+", "_")


_USER = "/users/{user}"
_SETTINGS = ("MailboxSettings.Read", "MailboxSettings.ReadWrite")
_MAIL = ("Mail.Read", "Mail.ReadWrite")

ROUTES = [
    Route(_USER + "/mailboxSettings", get_settings, "mail", _SETTINGS),
    Route(_USER + "/mailboxSettings", change_settings, "mail", _SETTINGS[1:], method="PATCH"),
    *_collection(
        _USER + "/mailFolders/{folder}/messageRules",
        lambda settings: settings.rules,
        MailboxSettings.add_rule,
        MailboxSettings.change_rule,
        _SETTINGS,
    ),
    *_collection(
        _USER + "/outlook/masterCategories",
        lambda settings: settings.categories,
        MailboxSettings.add_category,
        MailboxSettings.change_category,
        _SETTINGS,
    ),
    *_collection(
        _USER + "/inferenceClassification/overrides",
        lambda settings: settings.overrides,
        MailboxSettings.add_override,
        MailboxSettings.change_override,
        _MAIL,
    ),
    Route(
        _USER + "/translateExchangeIds",
        translate_ids,
        "mail",
        ("User.Read.All", "User.ReadWrite.All", *_MAIL),
        method="POST",
        reads=True,
    ),
]
