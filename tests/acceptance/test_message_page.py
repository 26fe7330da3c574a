"""Pages of messages in a real browser: nothing runs, nothing is asked for, and they look as they should."""

import base64
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import Request

from proxy.converters.html_page import message_page
from proxy.converters.letter import Block, Enclosure, Letter, letter_of_mime
from tests.fixtures.browser import opened_window, running_browser
from tests.unit.converters.test_html_page import ATTACKS

pytestmark = pytest.mark.slow


def picture_of(width: int, height: int) -> bytes:
    """A grey PNG."""

    def piece(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    rows = zlib.compress((b"\x00" + b"\x80" * width) * height)
    return (
        b"\x89PNG\r\n\x1a\n"
        + piece(b"IHDR", size + b"\x08\x00\x00\x00\x00")
        + piece(b"IDAT", rows)
        + piece(b"IEND", b"")
    )


def test_nothing_runs_and_nothing_is_asked_for(tmp_path: Path) -> None:
    """All attacks in one message: no dialog, no request but the page, no violation, and the text is there."""
    letter = Letter(
        subject="<img src=x onerror=alert(1)>",
        headers=[("From", "</dd><script>alert(1)</script>")],
        blocks=[
            Block(f"<p>attack {number}</p>{attack}", html=True)
            for number, attack in enumerate(ATTACKS)
        ],
        enclosures=[Enclosure("<script>alert(1)</script>.pdf", "application/pdf", 12)],
    )
    file = tmp_path / "page.html"
    file.write_bytes(message_page(letter, "<b>.eml"))
    asked: list[str] = []
    dialogs: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    with running_browser() as browser, opened_window(browser) as window:
        window.page.on("request", note)
        window.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        window.page.goto(file.as_uri())
        shown = window.page.locator("body").inner_text()
        boxes = window.page.locator(".letter > .text").count()
        links = window.page.eval_on_selector_all("a", "nodes => nodes.map(n => n.protocol)")
        assert window.page.title() == "<img src=x onerror=alert(1)>"
        assert window.faults == []
        # A script that got past the filter would still be refused.
        refused = window.page.evaluate(
            "new Promise(done => { addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));"
            " const s = document.createElement('script'); s.textContent = 'x = 1'; document.body.append(s); })"
        )
    assert (asked, dialogs) == ([file.as_uri()], [])
    assert boxes == len(ATTACKS)
    assert all(f"attack {number}" in shown for number in range(len(ATTACKS)))
    assert set(links) <= {"https:", "http:", ":", ""}
    assert refused.startswith("script-src")
    assert window.faults == [
        fault for fault in window.faults if "x = 1" in fault or "script" in fault
    ]


def test_pictures_show_and_wide_mail_scrolls_in_its_box(tmp_path: Path) -> None:
    """An inline picture is decoded, a table of 3,000 pixels does not widen the page, the attachment is named."""
    mime = (
        b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: Quarterly numbers\r\n"
        b"Content-Type: multipart/related; boundary=r\r\n\r\n--r\r\nContent-Type: text/html\r\n\r\n"
        b"<p style='color: #b00020; font-weight: bold'>Numbers</p><img id=p src='cid:p@1' width=40 height=40>"
        b"<table width=3000 border=1 bgcolor=#ffffcc><tr><td>wide</table>\r\n"
        b"--r\r\nContent-Type: image/png\r\nContent-ID: <p@1>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(picture_of(4, 3))
        + b"\r\n"
        b"--r\r\nContent-Type: application/pdf; name=plan.pdf\r\n\r\nPDF\r\n--r--\r\n"
    )
    file = tmp_path / "page.html"
    file.write_bytes(message_page(letter_of_mime(mime), "Quarterly numbers~1.eml"))
    with (
        running_browser() as browser,
        opened_window(browser, viewport={"width": 700, "height": 600}) as window,
    ):
        window.page.goto(file.as_uri())
        width = window.page.evaluate("document.documentElement.scrollWidth")
        picture = window.page.locator("img")
        assert picture.evaluate("node => [node.naturalWidth, node.naturalHeight]") == [4, 3]
        colour = window.page.locator(".text p").evaluate("node => getComputedStyle(node).color")
        assert "plan.pdf" in window.page.locator(".foot").inner_text()
        window.page.screenshot(path=str(tmp_path / "page.png"))
    assert width <= 700
    assert colour == "rgb(176, 0, 32)"
    assert window.faults == []
