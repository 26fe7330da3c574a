"""
What calls on messages share: how the client wants them, and the message in the path.
"""

from tools.emulator import exchange
from tools.emulator.call import Call
from tools.emulator.errors import GraphError
from tools.emulator.mail_json import MessageReading, View
from tools.emulator.message import Message
from tools.emulator.message_store import MessageStore


def view(call: Call) -> View:
    """How the client wants messages."""
    text = call.prefer.get("outlook.body-content-type", "").lower() == "text"
    return View(exchange.wants_immutable(call), text)


def reading(call: Call, *, content: bool = False) -> MessageReading:
    """The message in the path, to be read; `content`: its content is what is asked for."""
    message = call.mailbox().message(call.params["message"])
    call.services.faults.check_item(message.key, message.movable, content=content)
    return MessageReading(message, view(call), call.tenant.seed)


def addressed(call: Call) -> Message:
    """The message in the path, to be written; 412 when `If-Match` names another state of it."""
    found = reading(call)
    wanted = call.headers.get("If-Match", "*")
    if wanted != "*" and wanted.removeprefix("W/").strip('"') != found.change_key:
        text = "The send or update operation could not be performed because the change key is old."
        raise GraphError(412, "ErrorIrresolvableConflict", text)
    return found.message


def store(call: Call) -> MessageStore:
    """The writing side of the mailbox in the path."""
    return MessageStore(call.mailbox(), call.tenant.seed, call.tenant.domain, call.now)
