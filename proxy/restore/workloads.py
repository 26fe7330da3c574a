"""Which workloads can be restored to Microsoft 365, and by what."""

from collections.abc import Callable

from proxy.restore.contents import Contents
from proxy.restore.mail import MailRestorer
from proxy.restore.protocol import Restorer
from proxy.restore.target import Target

__all__ = ["RESTORERS"]

RESTORERS: dict[str, Callable[[Target, Contents], Restorer]] = {"mail": MailRestorer}
