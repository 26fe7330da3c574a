"""Where the first listings of containers stand, kept with the rows they brought."""

import msgspec

__all__ = ["ListingBook"]

FORM = 1


class _Form(msgspec.Struct, omit_defaults=True):
    form: int = FORM
    reading: dict[str, str] = {}
    streams: bool = False


class ListingBook:
    """
    The checkpoint of a listed workload in memory.

    `reading`: container id -> next link of its first listing, while that goes on. `streams`: whether the stored items have
    their export streams. All else is in the catalog, so a checkpoint that cannot be read costs nothing but requests.
    """

    def __init__(self, stored: bytes | None) -> None:
        self.reading: dict[str, str] = {}
        self.streams = False
        if stored:
            try:
                form = msgspec.json.decode(stored, type=_Form)
            except msgspec.DecodeError:
                return
            if form.form == FORM:
                self.reading.update(form.reading)
                self.streams = form.streams

    def encode(self) -> bytes:
        """What is stored."""
        return msgspec.json.encode(_Form(reading=self.reading, streams=self.streams))
