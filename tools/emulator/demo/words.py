"""
The texts of the demo company: subjects, sentences, and how they are put together.

Sentences have slots in braces. Equal random generators give equal texts.
"""

import random

_SLOTS = {
    "part": (
        "sensor head", "housing", "lens mount", "main board", "display", "battery pack",
        "calibration jig", "pump", "connector", "firmware image", "shielding", "gasket",
    ),
    "place": ("Aarhus", "Leeds", "Porto", "Brno", "Rotterdam", "Lyon", "Gdańsk", "Malmö"),
    "client": (
        "Brightwater Utilities", "Møller & Søn", "Castellan Foods", "Hütter Anlagenbau",
        "Aldine Press", "Tidewell Harbour", "Crespo Hermanos", "Northfold Dairy",
    ),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "week": tuple(str(n) for n in range(3, 50)),
    "amount": tuple(f"{n},{m:03d}" for n in (1, 2, 4, 7, 12, 18, 31) for m in (150, 480, 900)),
    "percent": ("2", "3.5", "5", "8", "12", "17"),
    "count": ("three", "four", "six", "eight", "a dozen", "twenty"),
}  # fmt: skip

_SUBJECTS = (
    "{project}: plan for week {week}", "{project}: open points on the {part}",
    "Quote for {client}", "Minutes, {project} steering group", "Travel to {place}",
    "{project} test results", "Delivery date of the {part}", "Budget for {project}",
    "Visit of {client} on {day}", "Drawing change: {part}", "Complaint from {client}",
    "New supplier for the {part}", "Training in {place}", "Holiday cover, week {week}",
    "{project}: risk list", "Spare parts for {client}", "Audit in {place}",
    "Prüfbericht {part}", "Réunion {project} à {place}", "Oferta para {client}",
    "Spotkanie w sprawie {project}", "{project} – übersicht der Änderungen", "見積書 {project}",
    "Photos of the {part}", "Server maintenance on {day}", "Invoice {amount}, {client}",
)  # fmt: skip

_OPENINGS = (
    "thank you for the quick answer.", "here is where we stand with {project}.",
    "I went through the figures again this morning.", "sorry for the late reply, I was in {place}.",
    "as promised, a short summary.", "the call with {client} went well.",
    "could you have a look at the points below?", "we need a decision before {day}.",
)  # fmt: skip

_SENTENCES = (
    "The {part} passed the drop test, but the drift after warm-up is still {percent} per cent.",
    "{client} asks for delivery in week {week}; production says that is possible with overtime.",
    "The supplier in {place} confirmed the price of {amount} euros for the first lot.",
    "We found {count} units with a loose {part} and put them aside.",
    "Please keep the old drawing until the change is signed off.",
    "The audit showed no major findings, only {count} remarks on labelling.",
    "I booked the small meeting room for {day} at ten.",
    "The new firmware cuts the start-up time by {percent} per cent.",
    "Nobody has tested the {part} below freezing point yet, and {client} will ask.",
    "Let us move the review to {day}, since two of us travel to {place}.",
    "The cost of the {part} went up by {percent} per cent since spring.",
    "I would rather ship {count} good units than promise the whole order.",
    "The measurement in {place} agrees with ours within the stated uncertainty.",
    "Marketing needs two sentences on {project} for the fair in {place}.",
    "The spreadsheet has a tab for each site; the totals are on the first.",
    "If the {part} is late again we lose week {week}.",
    "Service reports that the display of {count} devices went dark after a year.",
    "There is a draft contract with {client}; legal has it until {day}.",
    "Ich habe die Tabelle für {client} ergänzt, bitte kurz prüfen.",
    "Les photos de la pièce sont dans le dossier du projet {project}.",
    "For {project} we still have {amount} euros in the budget of this quarter.",
    "The pallet left {place} on {day} and should arrive within the week.",
    "I have no strong view on the colour, as long as it matches the {part}.",
    "Whoever goes to {place} next, please take the reference gauge along.",
)  # fmt: skip

_CLOSINGS = ("Best regards", "Kind regards", "Thanks", "Many thanks", "See you on {day}", "Cheers")


def fill(template: str, rng: random.Random, project: str) -> str:
    """`template` with its slots filled."""
    while "{" in template:
        before, _, rest = template.partition("{")
        slot, _, after = rest.partition("}")
        value = project if slot == "project" else rng.choice(_SLOTS[slot])
        template = before + value + after
    return template


def subject(rng: random.Random, project: str) -> str:
    """The subject of a thread."""
    return fill(rng.choice(_SUBJECTS), rng, project)


def paragraph(rng: random.Random, project: str, sentences: int) -> str:
    """Some sentences in a row."""
    return " ".join(fill(rng.choice(_SENTENCES), rng, project) for _ in range(sentences))


def paragraphs(rng: random.Random, project: str, size: int) -> list[str]:
    """Paragraphs of about `size` characters together."""
    found: list[str] = []
    length = 0
    while length < size:
        found.append(paragraph(rng, project, rng.randint(2, 6)))
        length += len(found[-1]) + 2
    return found


def letter(rng: random.Random, project: str, addressee: str, sender: str) -> list[str]:
    """The paragraphs of a mail, salutation and closing included."""
    opening = fill(rng.choice(_OPENINGS), rng, project)
    body = [paragraph(rng, project, rng.randint(1, 5)) for _ in range(rng.randint(1, 4))]
    closing = fill(rng.choice(_CLOSINGS), rng, project)
    return [f"Hello {addressee},", opening[0].upper() + opening[1:], *body, f"{closing},\n{sender}"]
