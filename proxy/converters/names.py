"""
File names that every common file system takes, and that do not clash where letter case or Unicode form does not count.

The result depends on the name, the row's id and its siblings only, so an export made twice is the same twice.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from blake3 import blake3

__all__ = ["clash_suffix", "distinct_names", "safe_name"]

NAME_BYTES_MAX = 200  # file systems take 255; room for a suffix and a temporary ending
EXTENSION_BYTES_MAX = 20
SUFFIX_DIGITS = 8
# Besides what file systems refuse: characters that turn the direction of text, so that "gpj.exe" reads as "exe.jpg".
RESERVED = re.compile(
    r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u200e\u200f\u2028-\u202e\u2066-\u2069]|[\ud800-\udfff]'
)
DEVICES = re.compile(
    r"(con|conin\$|conout\$|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE
)


def safe_name(name: str, *, extension: str = "") -> str:
    """
    A file name close to `name`: reserved characters become "_", the length is at most NAME_BYTES_MAX bytes.

    `extension` ("" or ".eml") is added and survives the shortening, as does one that `name` has.
    """
    clean = RESERVED.sub("_", unicodedata.normalize("NFC", name)).strip(" ").rstrip(". ")
    clean = clean or "_"
    if DEVICES.fullmatch(clean):
        clean = "_" + clean
    stem, own = (clean, "") if extension else _split(clean)
    room = NAME_BYTES_MAX - len((own + extension).encode())
    return _shortened(stem, room) + own + extension


def distinct_names(names: Mapping[bytes, str]) -> dict[bytes, str]:
    """
    The names of siblings by row id, made distinct.

    Names that differ only in letter case or Unicode form clash: each of them gets a suffix from its id.
    """
    folded = {row_id: _folded(name) for row_id, name in names.items()}
    counts = Counter(folded.values())
    taken = {key for key, count in counts.items() if count == 1}
    result: dict[bytes, str] = {}
    for row_id, name in sorted(names.items()):
        if counts[folded[row_id]] > 1:
            name = _free(name, row_id, taken)
            taken.add(_folded(name))
        result[row_id] = name
    return result


def clash_suffix(row_id: bytes) -> str:
    """~ and eight digits: the same that paths of `strongroom browse` end in."""
    return "~" + blake3(row_id).hexdigest()[:SUFFIX_DIGITS]


def with_suffix(name: str, suffix: str) -> str:
    """`name` with `suffix` before its extension."""
    stem, extension = _split(name)
    room = NAME_BYTES_MAX - len((suffix + extension).encode())
    return _shortened(stem, room) + suffix + extension


def _free(name: str, row_id: bytes, taken: Iterable[str]) -> str:
    for digits in range(SUFFIX_DIGITS, 65, SUFFIX_DIGITS):
        made = with_suffix(name, "~" + blake3(row_id).hexdigest()[:digits])
        if _folded(made) not in taken:
            return made
    raise AssertionError("two rows with one id")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def _split(name: str) -> tuple[str, str]:
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or len(extension.encode()) >= EXTENSION_BYTES_MAX:
        return name, ""
    return stem, dot + extension


def _shortened(text: str, room: int) -> str:
    data = text.encode()
    if len(data) <= room:
        return text
    return data[:room].decode("utf-8", "ignore").rstrip(". ") or "_"
