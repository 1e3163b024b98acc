"""The Date header."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.dates import format_date, parse_date
from msrpconf.protocols.sip.errors import SipSyntaxError


class DateTests(SynchronousTestCase):
    def test_read_and_written(self) -> None:
        text = "Sat, 13 Nov 2010 23:29:00 GMT"
        moment = datetime(2010, 11, 13, 23, 29, 0, tzinfo=UTC)
        self.assertEqual(parse_date(text), moment)
        self.assertEqual(format_date(moment), text)

    def test_written_in_gmt(self) -> None:
        zone = timezone(timedelta(hours=2))
        self.assertEqual(
            format_date(datetime(2024, 1, 1, 1, 0, 0, tzinfo=zone)), "Sun, 31 Dec 2023 23:00:00 GMT"
        )

    def test_refused(self) -> None:
        for text in (
            "",
            "Fri, 01 Jan 2010 16:00:00 EST",
            "Fri, 01 Jan 2010 16:00:00 UTC",
            "Fri, 1 Jan 2010 16:00:00 GMT",
            "Fri, 32 Jan 2010 16:00:00 GMT",
            "Fri, 01 Foo 2010 16:00:00 GMT",
            "Fri, 01 Jan 2010 25:00:00 GMT",
            "Fri, 01 Jan 0000 16:00:00 GMT",
        ):
            self.assertRaises(SipSyntaxError, parse_date, text)
