"""
The people of the demo company: who they are, what they do, what they work on.
"""

import dataclasses
import random
import unicodedata
from typing import Any

COMPANY = "Larkspur Instruments"
SLUG = "larkspur"
MAIL_DOMAIN = "larkspur.example"

_NAMES = """
Zoë Lindqvist|Tomasz Wójcik|Amara Okafor|Henrik Sørensen|Priya Raman|Lucía Fernández|Jonas Brandt
Mei-Ling Zhao|Owen Gallagher|Fatima Haddad|Dmitri Volkov|Chiara Bellini|Kwame Mensah|Ingrid Haugen
Rafael Monteiro|Anneke de Vries|Samuel Adeyemi|Yuki Tanabe|Clara Weißmann|Noah Pemberton
Leila Farahani|Mateo Salazar|Élodie Marchand|Viktor Novák|Hannah Whitlock|Arjun Deshpande
Sofia Papadaki|Gareth Llewellyn|Nadia Benali|Oskar Kowalczyk|Ruth Ashworth|Emeka Nwosu
Katarína Hudáková|Felix Ostermann|Isabel Quiroga|Daniel Achterberg|Marta Szabó|Liam Corrigan
Aiko Morishita|Björn Eklund
""".replace("\n", "|")

_ROLES = (
    ("Management", "Managing Director"),
    ("Management", "Chief Operating Officer"),
    ("Finance", "Head of Finance"),
    ("Finance", "Controller"),
    ("Finance", "Accountant"),
    ("People", "Head of People"),
    ("People", "Recruiter"),
    ("Engineering", "Head of Engineering"),
    ("Engineering", "Optics Engineer"),
    ("Engineering", "Firmware Engineer"),
    ("Engineering", "Electronics Engineer"),
    ("Engineering", "Mechanical Engineer"),
    ("Engineering", "Test Engineer"),
    ("Engineering", "Systems Architect"),
    ("Production", "Plant Manager"),
    ("Production", "Shift Lead"),
    ("Production", "Process Planner"),
    ("Production", "Calibration Technician"),
    ("Quality", "Head of Quality"),
    ("Quality", "Quality Auditor"),
    ("Quality", "Metrology Specialist"),
    ("Purchasing", "Head of Purchasing"),
    ("Purchasing", "Buyer"),
    ("Sales", "Head of Sales"),
    ("Sales", "Account Manager"),
    ("Sales", "Sales Engineer"),
    ("Sales", "Order Desk"),
    ("Marketing", "Head of Marketing"),
    ("Marketing", "Editor"),
    ("Marketing", "Event Planner"),
    ("Service", "Head of Service"),
    ("Service", "Field Engineer"),
    ("Service", "Support Specialist"),
    ("IT", "Head of IT"),
    ("IT", "Systems Administrator"),
    ("IT", "Data Analyst"),
    ("Legal", "Counsel"),
    ("Logistics", "Warehouse Lead"),
    ("Logistics", "Export Clerk"),
    ("Research", "Materials Scientist"),
)

PROJECTS = (
    "Osprey", "Kestrel", "Heron", "Curlew", "Plover", "Dunlin", "Sandpiper", "Goldcrest",
)  # fmt: skip
_OFFICES = ("Aarhus", "Leeds", "Porto", "Brno")


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """One employee; `projects` are what their mail and files are about."""

    given: str
    surname: str
    department: str
    title: str
    office: str
    phone: str
    projects: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.given} {self.surname}"

    @property
    def address(self) -> str:
        return f"{_plain(self.given)}.{_plain(self.surname)}@{MAIL_DOMAIN}"

    def profile(self) -> dict[str, Any]:
        """What the user resource of Graph says of them."""
        return {
            "businessPhones": [self.phone],
            "displayName": self.name,
            "givenName": self.given,
            "jobTitle": self.title,
            "mail": self.address,
            "mobilePhone": None,
            "officeLocation": self.office,
            "preferredLanguage": "en-GB",
            "surname": self.surname,
            "accountEnabled": True,
            "companyName": COMPANY,
            "department": self.department,
            "mailNickname": self.address.split("@")[0],
            "proxyAddresses": [f"SMTP:{self.address}"],
            "userType": "Member",
        }


def _plain(name: str) -> str:
    """`name` in small ASCII letters, for an address."""
    swapped = name.lower().replace("ß", "ss").replace("ø", "o").replace(" ", "-")
    return unicodedata.normalize("NFKD", swapped).encode("ascii", "ignore").decode()


def people(seed: int) -> list[Person]:
    """The 40 employees; the seed decides who has which job, office and project."""
    rng = random.Random(f"{seed}:people")
    names = [name.strip().split(" ", 1) for name in _NAMES.split("|") if name.strip()]
    roles = list(_ROLES)
    rng.shuffle(roles)
    found = []
    for (given, surname), (department, title) in zip(names, roles, strict=True):
        phone = f"+44 113 496 {rng.randrange(1000):04d}"
        projects = tuple(rng.sample(PROJECTS, 2))
        office = rng.choice(_OFFICES)
        found.append(Person(given, surname, department, title, office, phone, projects))
    return found
