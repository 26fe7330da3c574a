"""
Shapes of requests and answers that all resources share.

Requests are strict: no unknown member, no conversion between types, no control characters.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, Self, TypeVar

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from server.database.connector import Row
from server.identifiers import ID_PATTERN

PAGE_DEFAULT = 100
PAGE_MAX = 1000


def _plain(text: str) -> str:
    """No control characters, nothing that is not Unicode text: databases and logs stay whole."""
    if any(ord(sign) < 32 or ord(sign) == 127 or 0xD800 <= ord(sign) < 0xE000 for sign in text):
        raise ValueError("must hold no control characters")
    return text


def _text(text: str) -> str:
    if any(sign == "\0" or 0xD800 <= ord(sign) < 0xE000 for sign in text):
        raise ValueError("must be text without NUL")
    return text


_NO_CONTROL = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x20\x7f-\xa0]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f-\xa0])?$",
    ),
    AfterValidator(_plain),
]
Word = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9-]+$")]
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2000, pattern=_NO_CONTROL),
    AfterValidator(_plain),
]
Secret = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64_000, pattern=r"^[^\x00]*$"),
    AfterValidator(_text),
]
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
IdPath = Annotated[str, Path(pattern=ID_PATTERN, description="Id of the resource")]
IdQuery = Annotated[str, Query(pattern=ID_PATTERN)]
WordPath = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,63}$")]
After = Annotated[
    str,
    Query(
        max_length=400,
        pattern=r"^[\x20-\x7e]*$",
        description="`next` of the page before; empty for the first",
    ),
]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Items on a page")]


class Request(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """What the server sends."""

    @classmethod
    def of(cls, row: Mapping[str, Any], **more: Any) -> Self:
        """From a database row; members that are no part of the answer are left out."""
        values = {name: value for name, value in dict(row).items() if name in cls.model_fields}
        return cls.model_validate({**values, **more})


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Some items in a fixed order."""

    items: list[Item]
    next: str | None = Field(None, description="`after` of the next page; null at the end")


def page_of(
    rows: Sequence[Row], limit: int, shape: Callable[[Row], Item], cursor: str = "id"
) -> Page[Item]:
    """A page from `limit + 1` rows: the surplus row says that there is more."""
    shown = rows[:limit]
    following = str(shown[-1][cursor]) if len(rows) > limit else None
    return Page(items=[shape(row) for row in shown], next=following)
