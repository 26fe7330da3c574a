"""
Contacts of Graph as vCard 3.0, the version that every address book reads.

Source: RFC 2426; RFC 4770 for IMPP; Graph resource type contact. Names of X- properties are those that Outlook, Apple and
Evolution use.
"""

import base64
import re
from typing import Any

from proxy.converters.content_lines import content_line, encoded, text_list, text_value
from proxy.converters.graph_json import Members, entries, line, member, moment, text

__all__ = ["vcard"]

PHONES = (("homePhones", "HOME"), ("businessPhones", "WORK"))
PLACES = (("homeAddress", "HOME"), ("businessAddress", "WORK"), ("otherAddress", ""))
TEXTS = (
    ("nickName", "NICKNAME"),
    ("jobTitle", "TITLE"),
    ("profession", "ROLE"),
    ("personalNotes", "NOTE"),
    ("manager", "X-MANAGER"),
    ("assistantName", "X-ASSISTANT"),
    ("spouseName", "X-SPOUSE"),
    ("officeLocation", "X-OFFICE-LOCATION"),
    ("initials", "X-INITIALS"),
    ("fileAs", "X-FILE-AS"),
    ("yomiGivenName", "X-PHONETIC-FIRST-NAME"),
    ("yomiSurname", "X-PHONETIC-LAST-NAME"),
    ("yomiCompanyName", "X-PHONETIC-ORG"),
)
PICTURES = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG", "PNG"), (b"GIF8", "GIF"))
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def vcard(contact: Members, photo: bytes | None = None) -> bytes:
    """One contact."""
    lines = [content_line("BEGIN", "VCARD"), content_line("VERSION", "3.0")]
    lines.append(content_line("PRODID", "-//Strongroom//Strongroom//EN"))
    lines += _names(contact)
    lines += _company(contact)
    for name, property_name in TEXTS:
        if value := text(contact.get(name)).strip():
            lines.append(content_line(property_name, text_value(value)))
    lines += _reached_by(contact)
    lines += _addresses(contact)
    lines += _more(contact)
    if photo:
        kind = next((kind for magic, kind in PICTURES if photo.startswith(magic)), "")
        value = base64.b64encode(photo).decode()
        lines.append(content_line("PHOTO", value, {"ENCODING": "b", "TYPE": kind}))
    if identifier := line(contact.get("id")):
        lines.append(content_line("UID", text_value(identifier)))
    if modified := moment(contact.get("lastModifiedDateTime")):
        lines.append(content_line("REV", f"{modified:%Y-%m-%dT%H:%M:%SZ}"))
    lines.append(content_line("END", "VCARD"))
    return encoded(lines)


def _names(contact: Members) -> list[str]:
    parts = [
        line(contact.get(name))
        for name in ("surname", "givenName", "middleName", "title", "generation")
    ]
    addresses = [line(entry.get("address")) for entry in entries(contact.get("emailAddresses"))]
    shown = (
        line(contact.get("displayName"))
        or " ".join(part for part in (parts[3], parts[1], parts[2], parts[0], parts[4]) if part)
        or line(contact.get("fileAs"))
        or line(contact.get("companyName"))
        or next((address for address in addresses if address), "")
        or "(no name)"
    )
    return [
        content_line("FN", text_value(shown)),
        content_line("N", text_list(parts, ";")),
    ]


def _company(contact: Members) -> list[str]:
    company, department = line(contact.get("companyName")), line(contact.get("department"))
    if not (company or department):
        return []
    return [content_line("ORG", text_list([company, department] if department else [company], ";"))]


def _reached_by(contact: Members) -> list[str]:
    lines = []
    for entry in entries(contact.get("emailAddresses")):
        address = line(entry.get("address"))
        if address and not address.startswith("/"):  # a name of Exchange's directory is no address
            lines.append(content_line("EMAIL", text_value(address), {"TYPE": "INTERNET"}))
    for name, kind in PHONES:
        for number in _strings(contact.get(name)):
            lines.append(content_line("TEL", text_value(number), {"TYPE": kind}))
    if mobile := line(contact.get("mobilePhone")):
        lines.append(content_line("TEL", text_value(mobile), {"TYPE": "CELL"}))
    for address in _strings(contact.get("imAddresses")):
        uri = address if SCHEME.match(address) else f"sip:{address}"
        lines.append(content_line("IMPP", uri.replace(" ", "%20")))
    return lines


def _addresses(contact: Members) -> list[str]:
    lines = []
    for name, kind in PLACES:
        place = contact.get(name)
        parts = [
            text(member(place, part)).strip()
            for part in ("street", "city", "state", "postalCode", "countryOrRegion")
        ]
        if any(parts):
            value = text_list(["", "", *parts], ";")
            lines.append(content_line("ADR", value, {"TYPE": kind} if kind else None))
    return lines


def _more(contact: Members) -> list[str]:
    lines = []
    if birthday := moment(contact.get("birthday")):
        lines.append(content_line("BDAY", birthday.date().isoformat()))
    if page := line(contact.get("businessHomePage")):
        lines.append(content_line("URL", page))
    for child in _strings(contact.get("children")):
        lines.append(content_line("X-CHILD", text_value(child)))
    if categories := _strings(contact.get("categories")):
        lines.append(content_line("CATEGORIES", text_list(categories)))
    return lines


def _strings(value: Any) -> list[str]:
    return [clean for one in value if (clean := line(one))] if isinstance(value, list) else []
