"""
The mails of the demo company: threads planned from the seed, MIME written when asked for.
"""

import base64
import binascii
import dataclasses
import hashlib
import html
import random
from email.utils import formatdate

from tools.emulator.demo import words
from tools.emulator.demo.documents import MEDIA_TYPES, Document, Library, project_documents
from tools.emulator.demo.files import END, YEARS
from tools.emulator.demo.people import MAIL_DOMAIN, Person

_WORD_BYTES = 42  # bytes of text in one encoded word


@dataclasses.dataclass(frozen=True, slots=True)
class Letter:
    """One mail of a thread; `sent` is in seconds since the epoch."""

    seed: int
    thread: int
    index: int
    subject: str
    project: str
    sender: Person
    to: tuple[Person, ...]
    cc: tuple[Person, ...]
    sent: float
    style: str
    attachments: tuple[tuple[str, Document], ...]
    before: "Letter | None"

    @property
    def message_id(self) -> str:
        text = f"{self.seed}:{self.thread}:{self.index}"
        return f"<{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}@{MAIL_DOMAIN}>"

    def paragraphs(self) -> list[str]:
        """The text of this mail without what it quotes."""
        rng = random.Random(f"{self.seed}:letter:{self.thread}:{self.index}")
        return words.letter(rng, self.project, self.to[0].given, self.sender.given)


def plan_threads(seed: int, staff: list[Person], count: int) -> list[Letter]:
    """The letters of `count` threads, thread after thread."""
    rng = random.Random(f"{seed}:threads")
    teams: dict[str, list[Person]] = {}
    for person in staff:
        for project in person.projects:
            teams.setdefault(project, []).append(person)
    letters: list[Letter] = []
    for thread in range(count):
        project = rng.choice(sorted(teams))
        team = teams[project]
        members = rng.sample(team, min(len(team), rng.choice((2, 2, 3, 3, 4, 5, 6))))
        if len(members) < 2:
            members = rng.sample(staff, 2)
        letters += plan_thread(seed, thread, project, members, END - rng.random() * YEARS, rng)
    return letters


def plan_thread(
    seed: int,
    thread: int,
    project: str,
    members: list[Person],
    begin: float,
    rng: random.Random,
) -> list[Letter]:
    """One thread among `members` that begins at `begin`."""
    topic = words.subject(rng, project)
    found: list[Letter] = []
    sent = begin
    for index in range(rng.choice((1, 1, 2, 2, 3, 3, 4, 6))):
        sender = members[index % len(members)]
        others = [person for person in members if person is not sender]
        split = rng.randint(1, len(others))
        found.append(
            Letter(
                seed,
                thread,
                index,
                topic if index == 0 else f"Re: {topic}",
                project,
                sender,
                tuple(others[:split]),
                tuple(others[split:]),
                float(int(min(sent, END))),
                rng.choice(("both", "both", "both", "plain", "html")),
                _attachments(seed, project, index, rng),
                found[-1] if found else None,
            )
        )
        sent += rng.expovariate(1 / 20_000)
    return found


def _attachments(
    seed: int, project: str, index: int, rng: random.Random
) -> tuple[tuple[str, Document], ...]:
    """Files of the project that go with a mail: some with first mails, few with replies."""
    shared = project_documents(seed, project)
    small = [pair for pair in shared if not pair[1].big]
    dice = rng.random()
    if index == 0 and dice < 0.008:
        return (rng.choice([pair for pair in shared if pair[1].big]),)
    if dice < (0.26 if index == 0 else 0.05):
        return tuple(rng.sample(small, rng.choice((1, 1, 2))))
    return ()


def compose(letter: Letter, holder: Person, library: Library) -> bytes:
    """The MIME of the copy of `letter` in the mailbox of `holder`, lines ended by CRLF."""
    lines = _headers(letter, holder)
    kind, body = _body(letter)
    if letter.attachments:
        mark = _boundary(letter, "mixed")
        parts = [kind + body]
        parts += [_attached(name, document, library) for name, document in letter.attachments]
        lines.append(f'Content-Type: multipart/mixed; boundary="{mark}"')
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + _multipart(mark, parts)
    return "\r\n".join(lines).encode() + b"\r\n" + kind + body


def _headers(letter: Letter, holder: Person) -> list[str]:
    date = formatdate(letter.sent, localtime=False)
    trace = hashlib.blake2b(
        f"{letter.message_id}{holder.address}".encode(), digest_size=8
    ).hexdigest()
    lines = []
    if holder is not letter.sender:
        lines.append(
            f"Received: from mail.{MAIL_DOMAIN} by mailbox.{MAIL_DOMAIN}\r\n"
            f" with ESMTPS id {trace} for <{holder.address}>; {date}"
        )
    lines += [
        f"Date: {date}",
        f"From: {_mailbox(letter.sender)}",
        "To: " + ",\r\n ".join(map(_mailbox, letter.to)),
    ]
    if letter.cc:
        lines.append("Cc: " + ",\r\n ".join(map(_mailbox, letter.cc)))
    lines.append(f"Subject: {encoded(letter.subject)}")
    lines.append(f"Message-ID: {letter.message_id}")
    if letter.before:
        ids: list[str] = []
        earlier: Letter | None = letter.before
        while earlier:
            ids.insert(0, earlier.message_id)
            earlier = earlier.before
        lines.append(f"In-Reply-To: {letter.before.message_id}")
        lines.append("References: " + "\r\n ".join(ids))
    lines.append("MIME-Version: 1.0")
    return lines


def encoded(text: str) -> str:
    """A header value, as encoded words where it is not ASCII."""
    if text.isascii():
        return text
    words_, current = [], b""
    for char in text:
        raw = char.encode()
        if len(current) + len(raw) > _WORD_BYTES:
            words_.append(current)
            current = b""
        current += raw
    words_.append(current)
    return "\r\n ".join(f"=?utf-8?B?{base64.b64encode(raw).decode()}?=" for raw in words_)


def _mailbox(person: Person) -> str:
    return f"{encoded(person.name)} <{person.address}>"


def _boundary(letter: Letter, kind: str) -> str:
    text = f"{letter.message_id}{kind}"
    return f"=_{kind}_{hashlib.blake2b(text.encode(), digest_size=9).hexdigest()}"


def _multipart(mark: str, parts: list[bytes]) -> bytes:
    opening = f"--{mark}\r\n".encode()
    return b"\r\n".join(opening + part for part in parts) + f"\r\n--{mark}--\r\n".encode()


def _quoted_printable(text: str) -> bytes:
    return binascii.b2a_qp(text.replace("\n", "\r\n").encode(), istext=True)


def _text_part(kind: str, text: str) -> bytes:
    head = (
        f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable"
    )
    return head.encode() + b"\r\n\r\n" + _quoted_printable(text)


def _body(letter: Letter) -> tuple[bytes, bytes]:
    """Headers of the body with the empty line behind them, and the body."""
    own = letter.paragraphs()
    quoted = letter.before.paragraphs() if letter.before else []
    text = "\n\n".join(own)
    markup = "".join(f"<p>{html.escape(p)}</p>".replace("\n", "<br>") for p in own)
    if letter.before:
        writer = letter.before.sender.name
        lines = "\n\n".join(quoted).split("\n")
        text += f"\n\n{writer} wrote:\n" + "\n".join(f"> {line}" for line in lines)
        inner = "".join(f"<p>{html.escape(p)}</p>" for p in quoted)
        markup += f"<p>{html.escape(writer)} wrote:</p><blockquote>{inner}</blockquote>"
    markup = f"<html><body style='font-family: Calibri, sans-serif'>{markup}</body></html>"
    if letter.style == "plain":
        part = _text_part("plain", text + "\n")
    elif letter.style == "html":
        part = _text_part("html", markup + "\n")
    else:
        mark = _boundary(letter, "alt")
        head = f'Content-Type: multipart/alternative; boundary="{mark}"\r\n\r\n'
        parts = [_text_part("plain", text), _text_part("html", markup)]
        return head.encode(), _multipart(mark, parts)
    head_bytes, _, rest = part.partition(b"\r\n\r\n")
    return head_bytes + b"\r\n\r\n", rest


def _attached(name: str, document: Document, library: Library) -> bytes:
    shown = encoded(name)
    head = (
        f'Content-Type: {MEDIA_TYPES[document.kind]}; name="{shown}"\r\n'
        f'Content-Disposition: attachment; filename="{shown}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    data = base64.encodebytes(library.blob(document).read()).replace(b"\n", b"\r\n")
    return head.encode() + data.removesuffix(b"\r\n")
