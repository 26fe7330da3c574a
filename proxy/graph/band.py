"""What SharePoint allows an application in a tenant: bands by licences, and what the service says of it."""

from proxy.graph.allowance import Window

__all__ = ["Band", "resource_units_per_minute"]

BANDS = ((1_000, 1_250), (5_000, 2_500), (15_000, 3_750), (50_000, 5_000))
BAND_ABOVE = 6_250
MINUTE_S, DAY_S = 60.0, 86_400.0
DAY_UNITS_PER_MINUTE_UNIT = 960  # 1.2 million a day go with 1,250 a minute
NO_HEADERS_SHARE = 0.9  # answers carry RateLimit headers from 80 % of the limit on


def resource_units_per_minute(licenses: int) -> int:
    """SharePoint resource units a minute for one application in a tenant with so many licences."""
    return next((units for limit, units in BANDS if licenses <= limit), BAND_ABOVE)


class Band:
    """
    What SharePoint allows this application, as far as is known.

    The number of licences that decides it is a guess. Answers name the limit once 80 % of it are used, so the absence
    of that header says that more is allowed, and its presence says how much exactly.
    """

    def __init__(self, per_minute: int, share: float) -> None:
        self.per_minute = per_minute
        self.told = False
        self._share = share

    def windows(self) -> list[Window]:
        """A minute and a day."""
        minute = max(1.0, self.per_minute * self._share)
        return [Window(minute, MINUTE_S), Window(minute * DAY_UNITS_PER_MINUTE_UNIT, DAY_S)]

    def learn(self, limit: int | None, used: float) -> None:
        """An answer came that told `limit`, after `used` units of everybody in the last minute."""
        if limit:
            # A lower one is not taken over: what is left of it, and until when, says enough.
            self.hear(limit, told=True)
        elif not self.told and used >= NO_HEADERS_SHARE * self.per_minute:
            higher = [units for _, units in BANDS if units > self.per_minute]
            self.per_minute = min([*higher, max(BAND_ABOVE, self.per_minute)])

    def hear(self, per_minute: int, *, told: bool) -> None:
        """Somebody else learned this."""
        self.told = self.told or told
        self.per_minute = max(per_minute, self.per_minute)
