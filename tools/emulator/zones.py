"""
Time zones by the names that Outlook uses, and times as Graph writes them.

Graph takes Windows names and IANA names alike, and gives wall-clock times with seven decimals.
"""

import functools
import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from tools.emulator.errors import GraphError

UTC_NAME = "UTC"
_WINDOWS = {
    "Dateline Standard Time": "Etc/GMT+12",
    "Hawaiian Standard Time": "Pacific/Honolulu",
    "Alaskan Standard Time": "America/Anchorage",
    "Pacific Standard Time": "America/Los_Angeles",
    "Mountain Standard Time": "America/Denver",
    "US Mountain Standard Time": "America/Phoenix",
    "Central Standard Time": "America/Chicago",
    "Canada Central Standard Time": "America/Regina",
    "Central America Standard Time": "America/Guatemala",
    "Eastern Standard Time": "America/New_York",
    "SA Pacific Standard Time": "America/Bogota",
    "Atlantic Standard Time": "America/Halifax",
    "Newfoundland Standard Time": "America/St_Johns",
    "E. South America Standard Time": "America/Sao_Paulo",
    "Argentina Standard Time": "America/Argentina/Buenos_Aires",
    "Azores Standard Time": "Atlantic/Azores",
    "Cape Verde Standard Time": "Atlantic/Cape_Verde",
    "GMT Standard Time": "Europe/London",
    "Greenwich Standard Time": "Atlantic/Reykjavik",
    "Morocco Standard Time": "Africa/Casablanca",
    "W. Europe Standard Time": "Europe/Berlin",
    "Central Europe Standard Time": "Europe/Budapest",
    "Central European Standard Time": "Europe/Warsaw",
    "Romance Standard Time": "Europe/Paris",
    "W. Central Africa Standard Time": "Africa/Lagos",
    "E. Europe Standard Time": "Europe/Chisinau",
    "FLE Standard Time": "Europe/Kyiv",
    "GTB Standard Time": "Europe/Bucharest",
    "Israel Standard Time": "Asia/Jerusalem",
    "Egypt Standard Time": "Africa/Cairo",
    "South Africa Standard Time": "Africa/Johannesburg",
    "Turkey Standard Time": "Europe/Istanbul",
    "Arab Standard Time": "Asia/Riyadh",
    "E. Africa Standard Time": "Africa/Nairobi",
    "Russian Standard Time": "Europe/Moscow",
    "Iran Standard Time": "Asia/Tehran",
    "Arabian Standard Time": "Asia/Dubai",
    "Pakistan Standard Time": "Asia/Karachi",
    "India Standard Time": "Asia/Kolkata",
    "Nepal Standard Time": "Asia/Kathmandu",
    "Bangladesh Standard Time": "Asia/Dhaka",
    "SE Asia Standard Time": "Asia/Bangkok",
    "China Standard Time": "Asia/Shanghai",
    "Singapore Standard Time": "Asia/Singapore",
    "W. Australia Standard Time": "Australia/Perth",
    "Tokyo Standard Time": "Asia/Tokyo",
    "Korea Standard Time": "Asia/Seoul",
    "Cen. Australia Standard Time": "Australia/Adelaide",
    "AUS Central Standard Time": "Australia/Darwin",
    "AUS Eastern Standard Time": "Australia/Sydney",
    "E. Australia Standard Time": "Australia/Brisbane",
    "New Zealand Standard Time": "Pacific/Auckland",
    "Samoa Standard Time": "Pacific/Apia",
}
_IANA = {iana: windows for windows, iana in _WINDOWS.items()}


@functools.lru_cache(maxsize=256)
def find(name: str) -> tzinfo:
    """The zone of a Windows or IANA name; 400 when there is none."""
    if name.lower() in ("utc", "etc/utc", "etc/gmt", "tzone://microsoft/utc"):
        return UTC
    try:
        return zoneinfo.ZoneInfo(_WINDOWS.get(name, name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        text = f"A valid TimeZone value must be specified. '{name[:40]}' is none."
        raise GraphError(400, "TimeZoneNotSupportedException", text) from error


def outlook_name(name: str) -> str:
    """The Windows name of a zone where there is one, else `name` itself."""
    return _IANA.get(name, name)


def wall(text: str) -> datetime:
    """The wall-clock time of a `dateTime`; its fraction is dropped. 400 when it is none."""
    try:
        read = datetime.fromisoformat(text.strip().removesuffix("Z")[:19])
    except ValueError as error:
        raise GraphError(400, "ErrorPropertyValidationFailure", "A time is malformed.") from error
    return read.replace(tzinfo=None)


def moment(value: dict[str, Any]) -> datetime:
    """The instant of a `dateTimeTimeZone`, in UTC."""
    zone = find(value.get("timeZone") or UTC_NAME)
    return wall(value["dateTime"]).replace(tzinfo=zone).astimezone(UTC)


def written(at: datetime, name: str) -> dict[str, str]:
    """An instant, or a wall-clock time that is left as it is, as `dateTimeTimeZone`."""
    local = at.astimezone(find(name)) if at.tzinfo else at
    return {"dateTime": local.strftime("%Y-%m-%dT%H:%M:%S.0000000"), "timeZone": name}


def later(value: dict[str, Any], by: timedelta) -> dict[str, str]:
    """The same wall clock, moved."""
    return written(wall(value["dateTime"]) + by, value.get("timeZone") or UTC_NAME)
