"""Plain text out of HTML: for descriptions, and for readers that show no HTML."""

import re
from html.parser import HTMLParser

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
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = [line.strip() for line in "".join(parser.pieces).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent = 0
        self._preformatted = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in SILENT:
            self._silent += 1
        elif tag == "body":
            self._silent = 0  # a head that was never closed ends here
        elif tag == "br":
            self.pieces.append("\n")
        elif tag in ("td", "th"):
            self.pieces.append(" ")
        elif tag in BLOCKS:
            self._break("- " if tag == "li" else "")
        elif tag == "a":
            href = dict(attrs).get("href") or ""
            self._links.append((href if href.startswith(LINK_SCHEMES) else "", len(self.pieces)))
        self._preformatted += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in BLOCKS:
            self._break("")
        elif tag == "a" and self._links:
            href, start = self._links.pop()
            shown = "".join(self.pieces[start:])
            if href and href.removeprefix("mailto:").rstrip("/") not in shown:
                self.pieces.append(f" <{href}>")
        if tag == "pre":
            self._preformatted = max(0, self._preformatted - 1)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data if self._preformatted else SPACES.sub(" ", data))

    def _break(self, mark: str) -> None:
        if not self.pieces or not self.pieces[-1].endswith("\n"):
            self.pieces.append("\n")
        if mark:
            self.pieces.append(mark)
