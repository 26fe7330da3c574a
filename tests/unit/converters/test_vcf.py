"""Contacts as vCard, read back by `vobject`."""

from pathlib import Path
from typing import Any

import vobject

from proxy.converters.vcf import vcard
from tests.unit.converters.graph import samples


def read(data: bytes) -> Any:
    assert all(len(line) <= 75 for line in data.split(b"\r\n"))
    [found] = vobject.readComponents(data.decode())
    found.validate()
    return found


def test_a_contact_keeps_every_member_that_vcard_has() -> None:
    """Names, company, numbers, addresses, dates, notes and the picture."""
    contact = {
        "id": "AA=",
        "displayName": "Dr. Ann B. Müller, Jr.",
        "surname": "Müller",
        "givenName": "Ann",
        "middleName": "B.",
        "title": "Dr.",
        "generation": "Jr.",
        "nickName": "An;n",
        "companyName": "Contoso, Ltd.",
        "department": "R&D",
        "jobTitle": "Engineer",
        "emailAddresses": [
            {"name": "Ann", "address": "ann@example.com"},
            {"address": "a2@example.com"},
            {"address": "/o=Org/cn=Ann"},
        ],
        "businessPhones": ["+1 5", "+1 6"],
        "homePhones": ["+1 7"],
        "mobilePhone": "+1 8",
        "imAddresses": ["sip:ann@example.com", "ann"],
        "businessAddress": {"street": "One Way\r\n2nd floor", "city": "Here", "postalCode": "1"},
        "homeAddress": {},
        "birthday": "1974-07-22T11:59:00Z",
        "personalNotes": "line one\r\nline two",
        "spouseName": "Carl",
        "children": ["Dora"],
        "categories": ["Red, x", "y"],
        "businessHomePage": "https://ann.example",
        "lastModifiedDateTime": "2026-06-02T08:00:00Z",
    }
    found = read(vcard(contact, b"\xff\xd8\xff\xe0" + bytes(200)))
    assert found.fn.value == "Dr. Ann B. Müller, Jr."
    name = found.n.value
    assert (name.family, name.given, name.additional, name.prefix, name.suffix) == (
        "Müller", "Ann", "B.", "Dr.", "Jr.",
    )  # fmt: skip
    assert found.nickname.value == "An;n"
    assert found.org.value == ["Contoso, Ltd.", "R&D"]
    assert [e.value for e in found.email_list] == ["ann@example.com", "a2@example.com"]
    assert [(t.value, t.type_param) for t in found.tel_list] == [
        ("+1 7", "HOME"), ("+1 5", "WORK"), ("+1 6", "WORK"), ("+1 8", "CELL"),
    ]  # fmt: skip
    assert [i.value for i in found.impp_list] == ["sip:ann@example.com", "sip:ann"]
    assert found.adr.value.street == "One Way\n2nd floor"
    assert found.adr.type_param == "WORK"
    assert found.bday.value == "1974-07-22"
    assert found.note.value == "line one\nline two"
    assert found.categories.value == ["Red, x", "y"]
    assert found.photo.value == b"\xff\xd8\xff\xe0" + bytes(200)
    assert (found.x_spouse.value, found.x_child.value) == ("Carl", "Dora")
    assert found.rev.value == "2026-06-02T08:00:00Z"


def test_a_contact_without_a_name_is_valid() -> None:
    """FN must be there: company, address, or a placeholder take its place."""
    assert read(vcard({})).fn.value == "(no name)"
    assert read(vcard({"companyName": "Contoso"})).fn.value == "Contoso"
    assert read(vcard({"emailAddresses": [{"address": "a@b.example"}]})).fn.value == "a@b.example"
    assert (
        read(vcard({"displayName": "a\x00\nb", "surname": 5, "homePhones": "x"})).fn.value == "a b"
    )


def test_every_contact_of_the_documentation_is_readable(shared_data: Path) -> None:
    """Each sample becomes a vCard with the sample's name and addresses."""
    count = 0
    for sample in samples(shared_data, "contact"):
        found = read(vcard(sample))
        count += 1
        if sample.get("displayName"):
            assert found.fn.value == sample["displayName"]
        given = [e["address"] for e in sample.get("emailAddresses") or [] if e.get("address")]
        assert [e.value for e in found.contents.get("email", [])] == given
    assert count > 5
