"""
The contacts of one mailbox: the default folder, which no listing shows, and folders beside it.
"""

import dataclasses
from typing import Any

from tools.emulator.blob import Blob
from tools.emulator.records import Container, Record, RecordStore

DEFAULT = "contacts"
DEFAULTS: dict[str, Any] = {
    "assistantName": None, "birthday": None, "businessAddress": {}, "businessHomePage": None,
    "businessPhones": [], "categories": [], "children": [], "companyName": None,
    "department": None, "displayName": "", "emailAddresses": [], "fileAs": "",
    "generation": None, "givenName": None, "homeAddress": {}, "homePhones": [],
    "imAddresses": [], "initials": None, "jobTitle": None, "manager": None, "middleName": None,
    "mobilePhone": None, "nickName": None, "officeLocation": None, "otherAddress": {},
    "personalNotes": "", "profession": None, "spouseName": None, "surname": None, "title": None,
    "yomiCompanyName": None, "yomiGivenName": None, "yomiSurname": None,
}  # fmt: skip


@dataclasses.dataclass(slots=True, eq=False)
class Contact(Record):
    """One contact, with its picture if it has one."""

    photo: Blob | None = None


class ContactStore(RecordStore[Contact]):
    """The contact folders of one mailbox."""

    def __init__(self, seed: int, owner: str) -> None:
        super().__init__(seed, owner, "contacts", Contact)
        self.default = self.add_container("Contacts", well_known=DEFAULT)

    def add(
        self, container: Container[Contact], properties: dict[str, Any], *, at: float
    ) -> Contact:
        """Put a contact into a folder; what is not given is empty."""
        given = DEFAULTS | properties
        if not given["displayName"]:
            names = (given["givenName"], given["middleName"], given["surname"])
            given["displayName"] = " ".join(filter(None, names))
        if not given["fileAs"]:
            turned = (given["surname"], given["givenName"])
            given["fileAs"] = ", ".join(filter(None, turned)) or given["displayName"]
        return super().add(container, given, at=at)

    def set_photo(self, contact: Contact, photo: Blob | None, *, at: float) -> None:
        """Give a contact a picture, or take it away."""
        contact.photo = photo
        self.touch(contact, at=at)
