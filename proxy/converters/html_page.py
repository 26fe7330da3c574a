"""
A message as one HTML file that opens anywhere and loads nothing: header, texts, pictures, names of attachments.

A content security policy forbids scripts and every request, should something slip through `html_clean`.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from html import escape

from proxy.converters.html_clean import clean_html
from proxy.converters.letter import Block, Enclosure, Letter

__all__ = ["message_page"]

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #eef0f3; color: #1c2330; font: 15px/1.5 "Segoe UI", "Liberation Sans", sans-serif; }
.letter { max-width: 60rem; margin: 1.5rem auto; background: #fff; border: 1px solid #d5dae1; border-radius: 6px; }
.head { padding: 1.1rem 1.5rem; border-bottom: 1px solid #d5dae1; }
.head h1 { margin: 0 0 .6rem; font-size: 1.3rem; line-height: 1.3; overflow-wrap: anywhere; }
.head dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 0; font-size: .92rem; }
.head dt { color: #5b6675; }
.head dd { margin: 0; overflow-wrap: anywhere; }
.text { padding: 1.1rem 1.5rem; overflow: auto; contain: paint; overflow-wrap: anywhere; }
.text + .text { border-top: 1px dashed #d5dae1; }
.text img { max-width: 100%; }
.plain { white-space: pre-wrap; font: .87rem/1.5 "Cascadia Mono", "Liberation Mono", monospace; }
.unloaded, .foot span, .foot p { color: #5b6675; font-size: .9em; }
.foot { padding: .9rem 1.5rem; border-top: 1px solid #d5dae1; font-size: .92rem; }
.foot ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.foot p { margin: .3rem 0 0; }
@media print { body { background: #fff; } .letter { border: 0; margin: 0; max-width: none; } }
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# Our own style sheet, styles at elements, pictures that are here: nothing else.
POLICY = (
    f"default-src 'none'; img-src data:; style-src-elem 'sha256-{STYLE_HASH}'; "
    "style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
TEXT_CHARACTERS_MAX = 4_000_000  # of one text; more is cut off, with a word about it
UNITS = ("bytes", "KB", "MB", "GB")
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def message_page(letter: Letter, whole: str = "") -> bytes:
    """
    The page.

    Args:
        whole: name of the file beside it that holds the message as it is, with its attachments.
    """
    subject = letter.subject or "(no subject)"
    shown = " ".join(block.content for block in letter.blocks if block.html)
    others = [
        one
        for one in letter.enclosures
        if not (one.content_id and f"cid:{one.content_id}" in shown)
    ]
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n',
        '<meta name="referrer" content="no-referrer">\n',
        '<meta name="viewport" content="width=device-width">\n',
        f'<title>{escape(subject)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<div class="letter">\n',
        f'<div class="head">\n<h1>{escape(subject)}</h1>\n<dl>\n',
        *(f"<dt>{name}</dt><dd>{escape(value)}</dd>\n" for name, value in letter.headers),
        "</dl>\n</div>\n",
        *(_shown(block, letter) for block in letter.blocks),
        _footer(others, whole),
        "</div>\n</body>\n</html>\n",
    ]
    return CONTROLS.sub("\ufffd", "".join(parts)).encode()


def _shown(block: Block, letter: Letter) -> str:
    content = block.content[:TEXT_CHARACTERS_MAX]
    if block.html:
        shown = f'<div class="text">{clean_html(content, letter.pictures)}</div>\n'
    else:
        shown = f'<div class="text plain">{escape(content, quote=False)}</div>\n'
    if len(block.content) > TEXT_CHARACTERS_MAX:
        shown += '<div class="text"><p>The text goes on in the message itself.</p></div>\n'
    return shown


def _footer(enclosures: Iterable[Enclosure], whole: str) -> str:
    items = "".join(
        f"<li>{escape(one.name)} <span>{escape(one.media_type)}{_size(one.size)}</span></li>\n"
        for one in enclosures
    )
    listed = f"<strong>Attachments</strong>\n<ul>\n{items}</ul>\n" if items else ""
    beside = f"<p>The whole message is in {escape(whole)}.</p>\n" if whole else ""
    return f'<div class="foot">\n{listed}{beside}</div>\n' if listed or beside else ""


def _size(size: int | None) -> str:
    if size is None:
        return ""
    number = float(size)
    for unit in UNITS[:-1]:
        if number < 1000:
            return f", {number:.0f} {unit}" if unit == "bytes" else f", {number:.1f} {unit}"
        number /= 1000
    return f", {number:.1f} {UNITS[-1]}"
