"""
The drives of the demo company.
"""

import random

from tools.emulator.blob import BytesBlob
from tools.emulator.demo.documents import Document, Library, project_documents
from tools.emulator.demo.people import Person
from tools.emulator.drive import Drive

END = 1_793_620_800.0  # 2026-11-02 12:00 UTC, the newest moment of the recipe
YEARS = 2 * 365 * 86_400.0

_FOLDERS = (
    "Documents",
    "Documents/Letters",
    "Notes",
    "Desktop",
    "Pictures/Workshop",
    "Archive/2025",
)
_STEMS = {
    "txt": ("to do", "meeting notes", "ideas", "phone list", "packing list", "journal"),
    "csv": ("readings", "export", "stock count", "drift test", "hours"),
    "docx": ("offer", "letter", "report", "instructions", "job description", "review"),
    "xlsx": ("budget", "calculation", "plan", "price comparison", "expenses"),
    "png": ("photo", "screenshot", "sketch", "label"),
    "pdf": ("invoice", "data sheet", "certificate", "ticket", "manual"),
    "zip": ("backup", "drawings", "handover"),
}
_KINDS = ("txt", "txt", "csv", "docx", "docx", "xlsx", "xlsx", "png", "pdf", "pdf", "zip")
_ODD_NAMES = (
    "Besprechung Größenübersicht.docx",
    "見積書 2026.xlsx",
    "Résumé – équipe Lyon.txt",
    "Łódź zamówienie #7.pdf",
    "100% sicher & geprüft.txt",
    "naïve café’s menu.txt",
)


def fill(drive: Drive, person: Person, seed: int, library: Library) -> None:
    """Put the files of one person into their drive."""
    rng = random.Random(f"{seed}:files:{person.address}")
    for folder in _FOLDERS:
        drive.add_folder(folder, at=END - YEARS)
    drive.add_folder("Desktop/New folder", at=END - YEARS / 2)  # stays empty
    drive.find("Documents").special = "documents"
    for number in range(rng.randint(19, 27)):
        kind = rng.choice(_KINDS)
        stem = rng.choice(_STEMS[kind])
        path = f"{rng.choice(_FOLDERS)}/{stem} {number + 1:02d}.{kind}"
        document = Document(seed, f"{person.address}/{path}", kind, rng.choice(person.projects))
        _put(drive, path, document, rng, library)
    for project in person.projects:
        for name, document in project_documents(seed, project):
            if rng.random() < (0.11 if document.big else 0.85):
                _put(drive, f"Projects/{project}/{name}", document, rng, library)
    odd = rng.choice(_ODD_NAMES)
    kind = odd.rpartition(".")[2]
    _put(drive, f"Notes/{odd}", Document(seed, odd, kind, person.projects[0]), rng, library)
    drive.put("Notes/placeholder.txt", BytesBlob(b""), at=_moment(rng))
    for item in drive.files():
        item.shared = rng.random() < 0.05
    drive.settle()


def _moment(rng: random.Random) -> float:
    return float(int(END - rng.random() * YEARS))


def _put(drive: Drive, path: str, document: Document, rng: random.Random, library: Library) -> None:
    modified = _moment(rng)
    created = modified - rng.randrange(1, 90) * 86_400
    drive.put(path, library.blob(document), at=modified, created=created)
