"""Plain text out of HTML: for descriptions, and for readers that show no HTML."""

import re

from proxy.converters.html_tokens import Tag, tokens

__all__ = ["plain_text"]

SILENT = frozenset({"script", "style", "head", "title", "template", "noscript", "iframe", "object"})
_BLOCK_TAGS = (
    "address article aside blockquote center dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 "
    "header hr li main nav ol p pre section table tr ul"
)
BLOCKS = frozenset(_BLOCK_TAGS.split())
SPACES = re.compile(r"[ \t\r\n\f]+")
LINK_SCHEMES = ("http://", "https://", "mailto:")


def plain_text(html: str) -> str:
    """The text of a page: paragraphs on lines of their own, addresses of links behind their text."""
    reader = _Text()
    for token in tokens(html):
        if isinstance(token, str):
            reader.add_text(token)
        elif token.closing:
            reader.close(token.name)
        else:
            reader.open(token)
    lines = [line.strip() for line in "".join(reader.pieces).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _bare(href: str) -> str:
    return href.removeprefix("mailto:").rstrip("/")


class _Text:
    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._silent = 0
        self._preformatted = 0
        self._link = ("", 0)  # its address, and where its text begins

    def open(self, tag: Tag) -> None:
        """A start tag."""
        if tag.name in SILENT:
            self._silent += 1
        elif tag.name == "body":
            self._silent = 0  # a head that was never closed ends here
        elif tag.name == "br":
            self.pieces.append("\n")
        elif tag.name in ("td", "th"):
            self.pieces.append(" ")
        elif tag.name in BLOCKS:
            self._break("- " if tag.name == "li" else "")
        elif tag.name == "a":
            href = tag.attributes.get("href", "")
            self._link = (href if href.startswith(LINK_SCHEMES) else "", len(self.pieces))
        self._preformatted += tag.name == "pre"

    def close(self, name: str) -> None:
        """An end tag."""
        if name in SILENT:
            self._silent = max(0, self._silent - 1)
        elif name in BLOCKS:
            self._break("")
        elif name == "a":
            (href, start), self._link = self._link, ("", 0)
            if href and _bare(href) not in "".join(self.pieces[start:]):
                self.pieces.append(f" <{href}>")
        if name == "pre":
            self._preformatted = max(0, self._preformatted - 1)

    def add_text(self, data: str) -> None:
        """Words, with spaces as HTML counts them."""
        if not self._silent:
            self.pieces.append(data if self._preformatted else SPACES.sub(" ", data))

    def _break(self, mark: str) -> None:
        if not self.pieces or not self.pieces[-1].endswith("\n"):
            self.pieces.append("\n")
        if mark:
            self.pieces.append(mark)
