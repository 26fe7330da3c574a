"""
HTML of a message made harmless: a small list of what may stay, everything else goes.

The result is written anew from parsed tags and escaped text, so nothing of the original's syntax survives. It loads
nothing: pictures are those that travelled with the message, as data: URLs; links are only followed by a click.
"""

import base64
import re
from collections.abc import Mapping
from html import escape
from urllib.parse import unquote

from proxy.converters.html_tokens import tokens

__all__ = ["clean_html"]

_TAGS = (
    "a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn "
    "div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p "
    "pre q s samp section small span strike strong sub sup table tbody td tfoot th thead time tr tt u ul var wbr"
)
TAGS = frozenset(_TAGS.split())
VOID = frozenset({"br", "col", "hr", "img", "wbr"})
# These go with what is in them. Forms go too: their text stays, nothing can be typed or sent.
_SILENT = (
    "audio canvas embed frameset head iframe math noembed noframes noscript object script select style svg template "
    "textarea title video xml"
)
SILENT = frozenset(_SILENT.split())
_ATTRIBUTES = (
    "abbr align alt bgcolor border cellpadding cellspacing color colspan dir face height hspace lang noshade nowrap "
    "reversed rowspan rules scope size span start title type valign value vspace width"
)
ATTRIBUTES = frozenset(_ATTRIBUTES.split())
_PROPERTIES = (
    "background-color border border-bottom border-bottom-color border-bottom-style border-bottom-width "
    "border-collapse border-color border-left border-left-color border-left-style border-left-width border-radius "
    "border-right border-right-color border-right-style border-right-width border-spacing border-style border-top "
    "border-top-color border-top-style border-top-width border-width clear color direction display float font font-family "
    "font-size font-style font-variant font-weight height letter-spacing line-height list-style list-style-type "
    "margin margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width padding "
    "padding-bottom padding-left padding-right padding-top text-align text-decoration text-indent text-transform "
    "vertical-align white-space width word-break word-spacing word-wrap overflow-wrap"
)
PROPERTIES = frozenset(_PROPERTIES.split())
# No functions (url, expression, image-set), no escapes, no negative lengths that could cover something.
PROPERTY_VALUE = re.compile(r"(?!.*(?<![\w#])-)[\w\s#%.,'\"!-]{1,200}", re.ASCII)
COLOR_FUNCTION = re.compile(r"rgba?\([\d\s.,%/]{1,40}\)", re.ASCII)
LINK = re.compile(r"(?:https?://|mailto:|tel:)", re.IGNORECASE)
DATA_PICTURE = re.compile(r"data:(image/(?:png|jpeg|jpg|gif|webp|bmp));base64,([A-Za-z0-9+/=\s]+)")
PICTURE_TYPES = frozenset(f"image/{kind}" for kind in ("png", "jpeg", "jpg", "gif", "webp", "bmp"))
PICTURES_BYTES_MAX = (
    64 << 20
)  # of one text as it is written: a page may name one picture a thousand times
DEPTH_MAX = 150  # of open tags
NOT_LOADED = "picture not loaded"


def clean_html(html: str, pictures: Mapping[str, tuple[str, bytes]]) -> str:
    """
    A fragment with balanced tags.

    Args:
        pictures: media type and bytes by content id.
    """
    cleaner = _Cleaner(pictures)
    for token in tokens(html):
        if isinstance(token, str):
            cleaner.add_text(token)
        elif token.closing:
            cleaner.close(token.name)
        else:
            cleaner.open(token.name, token.attributes)
    return cleaner.finished()


class _Cleaner:
    def __init__(self, pictures: Mapping[str, tuple[str, bytes]]) -> None:
        self._pictures = pictures
        self._pieces: list[str] = []
        self._open: list[str] = []
        self._silent: list[str] = []
        self._room = PICTURES_BYTES_MAX

    def finished(self) -> str:
        """What was kept, all tags closed."""
        closing = [f"</{tag}>" for tag in reversed(self._open)]
        self._open = []
        return "".join(self._pieces + closing)

    def open(self, tag: str, given: dict[str, str]) -> None:
        """A start tag; to a browser <div/> is one as well."""
        if self._silent:
            if tag == "body":
                self._silent.clear()  # a head that was never closed ends here
            elif tag == self._silent[-1]:
                self._silent.append(tag)
            return
        if tag in SILENT:
            self._silent.append(tag)
            return
        if tag not in TAGS or len(self._open) >= DEPTH_MAX:
            return
        if tag == "img":
            self._pieces.append(self._picture(given))
            return
        self._pieces.append(f"<{tag}{_kept(given)}{_link(given) if tag == 'a' else ''}>")
        if tag not in VOID:
            self._open.append(tag)

    def close(self, tag: str) -> None:
        """An end tag; one that closes nothing is left out."""
        if self._silent:
            if tag == self._silent[-1]:
                self._silent.pop()
            return
        if tag in self._open:
            while True:
                closed = self._open.pop()
                self._pieces.append(f"</{closed}>")
                if closed == tag:
                    return

    def add_text(self, data: str) -> None:
        """Text, written so that it stays text."""
        if not self._silent:
            self._pieces.append(escape(data, quote=False))

    def _picture(self, given: dict[str, str]) -> str:
        source = given.get("src", "").strip()
        if source[:4].lower() == "cid:":
            kind, content = self._pictures.get(unquote(source[4:]), ("", b""))
            fits = kind in PICTURE_TYPES and len(content) < self._room // 2
            source = f"data:{kind};base64,{base64.b64encode(content).decode()}" if fits else ""
        if DATA_PICTURE.fullmatch(source) and len(source) <= self._room:
            self._room -= len(source)
            return f'<img src="{escape(source)}"{_kept(given)}>'
        shown = " ".join(given.get("alt", "").split())[:200]
        # Counting pixels of 1x1 are nothing to show.
        if {given.get("width", ""), given.get("height", "")} & {"0", "1"}:
            return ""
        return f'<span class="unloaded">[{escape(shown or NOT_LOADED)}]</span>'


def _kept(given: dict[str, str]) -> str:
    kept = "".join(
        f' {name}="{escape(value)}"' for name, value in given.items() if name in ATTRIBUTES
    )
    style = "; ".join(_declarations(given.get("style", "")))
    return f'{kept} style="{escape(style)}"' if style else kept


def _declarations(style: str) -> list[str]:
    found = []
    for declaration in style.split(";"):
        name, _, value = declaration.partition(":")
        name, value = name.strip().lower(), value.strip()
        plain = COLOR_FUNCTION.sub("x", value)
        if name in PROPERTIES and PROPERTY_VALUE.fullmatch(plain):
            found.append(f"{name}: {value}")
    return found


def _link(given: dict[str, str]) -> str:
    target = "".join(c for c in given.get("href", "") if c > " ")
    if not LINK.match(target):
        return ""
    return f' href="{escape(target)}" target="_blank" rel="noopener noreferrer nofollow"'
