"""Dates as SIP writes them (RFC 3261 section 20.17): `Sat, 13 Nov 2010 23:29:00 GMT`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.text import shown

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)


def parse_date(value: str) -> datetime:
    """The moment, in UTC. Raises `SipSyntaxError`, also for any time zone but GMT."""
    match = _DATE.fullmatch(value.strip(" \t"))
    if match is not None and match[2] in _MONTHS:
        day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
        try:
            return datetime(
                year, _MONTHS.index(match[2]) + 1, day, hour, minute, second, tzinfo=UTC
            )
        except ValueError:
            pass
    raise SipSyntaxError(
        f"expected a date like 'Sat, 13 Nov 2010 23:29:00 GMT', got {shown(value)}"
    )


def format_date(moment: datetime) -> str:
    """`moment`, which must know its time zone, as a Date value."""
    utc = moment.astimezone(UTC)
    day, month = _DAYS[utc.weekday()], _MONTHS[utc.month - 1]
    return f"{day}, {utc.day:02d} {month} {utc.year:04d} {utc:%H:%M:%S} GMT"
