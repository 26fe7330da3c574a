"""
vCard files (2.1, 3.0, 4.0) as contacts of Graph: what Outlook makes of them when it imports them.
"""

import base64
import binascii
import re
from typing import Any

from tools.emulator.content_lines import Block, Line, blocks

_ADDRESSES_MAX = 3
_PHONES_MAX = 2  # of each kind; more has no place
_BIRTHDAY = re.compile(r"^(\d{4})-?(\d\d)-?(\d\d)")


def read_contacts(raw: bytes) -> list[tuple[dict[str, Any], bytes | None]]:
    """The contacts of a file: properties of Graph, and the picture if there is one."""
    cards = [block for block in blocks(raw) if block.name == "VCARD" and block.lines]
    return [(_contact(card), _photo(card)) for card in cards]


def _contact(card: Block) -> dict[str, Any]:
    name = card.first("N")
    fields = ([*name.fields(), "", "", "", "", ""] if name else [""] * 5)[:5]
    surname, given, middle, title, generation = (field.strip() or None for field in fields)
    company = card.first("ORG")
    organization = [*company.fields(), ""] if company else ["", ""]
    found: dict[str, Any] = {
        "surname": surname,
        "givenName": given,
        "middleName": middle,
        "title": title,
        "generation": generation,
        "displayName": card.text("FN").strip(),
        "nickName": card.text("NICKNAME") or None,
        "companyName": organization[0].strip() or None,
        "department": organization[1].strip() or None,
        "jobTitle": card.text("TITLE") or None,
        "profession": card.text("ROLE") or None,
        "businessHomePage": card.text("URL") or None,
        "personalNotes": card.text("NOTE"),
        "categories": [each for line in card.all("CATEGORIES") for each in line.list()],
        "emailAddresses": [_email(card, line) for line in card.all("EMAIL")][:_ADDRESSES_MAX],
        "imAddresses": [line.text for line in card.all("IMPP")][:_ADDRESSES_MAX],
    }
    if born := _BIRTHDAY.match(card.text("BDAY")):
        found["birthday"] = f"{born[1]}-{born[2]}-{born[3]}T11:59:00Z"
    return found | _phones(card) | _places(card)


def _types(line: Line) -> set[str]:
    return {each.strip().lower() for each in line.parameters.get("TYPE", "").split(",")}


def _email(card: Block, line: Line) -> dict[str, str]:
    address = line.text.strip()
    return {"name": card.text("FN").strip() or address, "address": address}


def _phones(card: Block) -> dict[str, Any]:
    found: dict[str, Any] = {"homePhones": [], "businessPhones": [], "mobilePhone": None}
    for line in card.all("TEL"):
        number, types = re.sub(r"^tel:", "", line.text.strip(), flags=re.I), _types(line)
        if "cell" in types and found["mobilePhone"] is None:
            found["mobilePhone"] = number
            continue
        place = found["homePhones" if "home" in types else "businessPhones"]
        if len(place) < _PHONES_MAX:
            place.append(number)
    return found


def _places(card: Block) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in card.all("ADR"):
        fields = [field.strip() for field in line.fields()] + [""] * 7
        street = " ".join(filter(None, (fields[0], fields[1], fields[2])))
        values = (street, fields[3], fields[4], fields[5], fields[6])
        names = ("street", "city", "state", "postalCode", "countryOrRegion")
        types = _types(line)
        kind = "home" if "home" in types else "business" if "work" in types else "other"
        place = {name: value for name, value in zip(names, values, strict=True) if value}
        found.setdefault(f"{kind}Address", place)
    return found


def _photo(card: Block) -> bytes | None:
    """The picture that a card holds itself, in any of the three ways to write it."""
    line = card.first("PHOTO")
    if line is None:
        return None
    text = re.sub(r"^data:[^,]*;base64,", "", line.value.strip(), flags=re.I)
    if text == line.value.strip() and line.parameters.get("ENCODING", "").lower() not in (
        "b", "base64",
    ):  # fmt: skip
        return None
    try:
        return base64.b64decode(re.sub(r"\s", "", text), validate=True) or None
    except (binascii.Error, ValueError):
        return None
