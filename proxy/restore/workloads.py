"""Which workloads can be restored to Microsoft 365, and by what."""

from collections.abc import Callable

from proxy.restore.contacts import ContactRestorer
from proxy.restore.contents import Contents
from proxy.restore.events import EventRestorer
from proxy.restore.mail import MailRestorer
from proxy.restore.protocol import Restorer
from proxy.restore.target import Target
from proxy.restore.tasks import TaskRestorer

__all__ = ["RESTORERS"]

RESTORERS: dict[str, Callable[[Target, Contents], Restorer]] = {
    "mail": MailRestorer,
    "calendar": EventRestorer,
    "contacts": ContactRestorer,
    "tasks": TaskRestorer,
}
