"""
HTML as tags and texts, in time proportional to its length whatever it holds.

The standard library's parser takes 20 seconds for 180 KB of open quotes and stops at some declarations; mail is written
by strangers. This one reads as browsers do in what matters: comments, quotes, elements whose content is no markup.

Source: the HTML standard, 13.2.5 "Tokenization".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape

__all__ = ["Tag", "tokens"]

TAG = re.compile(r"</?([a-zA-Z][^\s/>]*)")
ATTRIBUTE = re.compile(
    r"""[\s/]*([^\s/>][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*))?)?"""
)
TAG_END = re.compile(r"[\s/]*>")
REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});?")
# The content of these is text up to their end tag, whatever it looks like.
RAW = frozenset(
    {
        "iframe",
        "noembed",
        "noframes",
        "noscript",
        "plaintext",
        "script",
        "style",
        "textarea",
        "title",
        "xmp",
    }
)


@dataclass(frozen=True, slots=True)
class Tag:
    """A start tag or an end tag; names in lower case, values with their references resolved."""

    name: str
    closing: bool
    attributes: dict[str, str]


def tokens(html: str) -> Iterator[Tag | str]:
    """Tags and texts in their order; the content of raw elements is left out. Comments and declarations are gone."""
    position = 0
    while position < len(html):
        opened = html.find("<", position)
        if opened != position:
            yield _resolved(html[position : opened if opened > 0 else len(html)])
            if opened < 0:
                return
        match = TAG.match(html, opened)
        if match is None:
            position = _after_markup(html, opened)
            if position == opened + 1:
                yield "<"
            continue
        attributes, position = _attributes(html, match.end())
        if position < 0:
            return  # a tag that never ends: browsers drop it as well
        name, closing = match[1].lower(), html[opened + 1] == "/"
        yield Tag(name, closing, attributes)
        if name in RAW and not closing:
            end = re.compile(f"</{name}(?=[\\s/>])", re.IGNORECASE).search(html, position)
            if end is None:
                return
            position = end.start()


def _after_markup(html: str, opened: int) -> int:
    """Where a comment or declaration ends; just after `<` if it is neither."""
    if html.startswith("<!--", opened):
        end = html.find("-->", opened + 2)
        return end + 3 if end >= 0 else len(html)
    if html[opened + 1 : opened + 2] in ("!", "?", "/"):
        end = html.find(">", opened)
        return end + 1 if end >= 0 else len(html)
    return opened + 1


def _attributes(html: str, position: int) -> tuple[dict[str, str], int]:
    """The attributes of a tag, the first of a name counts; and the place after it, -1 if it does not end."""
    found: dict[str, str] = {}
    while (end := TAG_END.match(html, position)) is None:
        match = ATTRIBUTE.match(html, position)
        if match is None or match.end() == position:
            return found, -1
        position = match.end()
        if html[position - 1] == "=" and html[position : position + 1] in ('"', "'"):
            return found, -1  # a quote that is never closed
        value = next((group for group in match.groups()[1:] if group is not None), "")
        found.setdefault(match[1].lower(), _resolved(value))
    return found, end.end()


def _resolved(text: str) -> str:
    if "&" not in text:
        return text
    return REFERENCE.sub(lambda match: unescape(match[0]), text)
