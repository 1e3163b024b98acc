from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.services.log import JsonObserver, LineObserver


class BrokenFile(StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


class LineObserverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = StringIO()
        observer = LineObserver(self.file, lambda _: datetime(2026, 11, 23, 9, 5, 7, tzinfo=UTC))
        self.log = Logger("msrpconf.test", observer=observer)

    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()

    def test_time_level_and_text(self) -> None:
        self.log.info("joined: {who}", who="alice")
        self.log.warn("refused")
        self.assertEqual(
            self.lines(),
            [
                "2026-11-23 09:05:07 info      joined: alice",
                "2026-11-23 09:05:07 warn      refused",
            ],
        )

    def test_more_lines_are_indented_and_peers_text_is_made_visible(self) -> None:
        self.log.info("from {peer}", peer="\x1b[2J\n2026-11-23 09:05:08 info      joined: bob\n\nx")
        self.assertEqual(
            self.lines(),
            [
                r"2026-11-23 09:05:07 info      from \x1b[2J",
                "    2026-11-23 09:05:08 info      joined: bob",
                "",
                "    x",
            ],
        )

    def test_a_failure_has_its_traceback(self) -> None:
        try:
            raise RuntimeError("so it is")
        except RuntimeError:
            self.log.failure("a bug")
        self.assertEqual(self.lines()[0], "2026-11-23 09:05:07 critical  a bug")
        self.assertIn("RuntimeError: so it is", self.lines()[-1])

    def test_what_twisted_tells_of_itself_is_left_out(self) -> None:
        observer = LineObserver(self.file)
        twisted = Logger("twisted.internet.base", observer=observer)
        twisted.info("Main loop terminated.")
        self.log.info("Starting factory {factory!r}", factory=1)
        self.assertEqual(self.lines(), [])
        twisted.emit(LogLevel.error, "but not what goes wrong")
        self.assertEqual(len(self.lines()), 1)

    def test_a_log_that_nobody_reads_is_no_harm(self) -> None:
        Logger("msrpconf.test", observer=LineObserver(BrokenFile())).info("hi")


class Untold:
    """What cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


class JsonObserverTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = StringIO()
        self.log = Logger("msrpconf.test", observer=JsonObserver(self.file))

    def told(self) -> list[dict[str, Any]]:
        """What each line has."""
        return [json.loads(line) for line in self.file.getvalue().splitlines()]

    def test_one_object_a_line(self) -> None:
        self.log.info("joined: {who} in {room}", who="alice\n\u2028", room="sip:a@b")
        self.log.warn("refused")
        first, second = self.told()
        self.assertEqual(len(self.file.getvalue().splitlines()), 2)
        time = datetime.fromisoformat(first.pop("time"))
        self.assertEqual(time.tzinfo, UTC)
        self.assertEqual(
            first,
            {
                "level": "info",
                "logger": "msrpconf.test",
                "message": "joined: alice\n\u2028 in sip:a@b",
                "fields": {"who": "alice\n\u2028", "room": "sip:a@b"},
            },
        )
        self.assertEqual((second["level"], second["fields"]), ("warn", {}))

    def test_values_of_all_kinds(self) -> None:
        self.log.info(
            "{count}",
            count=3,
            ratio=0.5,
            endless=float("inf"),
            nothing=None,
            wrong=True,
            octets=b"\xff",
            names=("a", "b"),
            untold=Untold(),
            surrogate="\udc80",
        )
        (told,) = self.told()
        self.assertEqual(
            told["fields"],
            {
                "count": 3,
                "ratio": 0.5,
                "endless": "inf",
                "nothing": None,
                "wrong": True,
                "octets": "b'\\xff'",
                "names": "('a', 'b')",
                "untold": "a Untold that cannot be shown",
                "surrogate": "\udc80",
            },
        )

    def test_a_failure_has_its_traceback(self) -> None:
        try:
            raise RuntimeError("so it is")
        except RuntimeError:
            self.log.failure("a bug")
        (told,) = self.told()
        self.assertEqual((told["level"], told["message"]), ("critical", "a bug"))
        self.assertIn("RuntimeError: so it is", told["traceback"])

    def test_what_twisted_tells_of_itself_is_left_out(self) -> None:
        twisted = Logger("twisted.internet.base", observer=JsonObserver(self.file))
        twisted.info("Main loop terminated.")
        self.assertEqual(self.told(), [])
        twisted.error("but not what goes wrong")
        self.assertEqual(len(self.told()), 1)

    def test_a_log_that_nobody_reads_is_no_harm(self) -> None:
        Logger("msrpconf.test", observer=JsonObserver(BrokenFile())).info("hi")
