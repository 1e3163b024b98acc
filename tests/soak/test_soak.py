"""A short soak: the one of ten minutes is `make soak`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from twisted.internet.defer import inlineCallbacks

from tests.processes import ProcessCase


class SoakTests(ProcessCase):
    timeout = 240

    @inlineCallbacks
    def test_all_is_explained(self) -> Generator[Any, Any, None]:
        options = "--seconds", "12", "--seed", "7", "--directory", str(self.directory / "soak")
        soak = self.start_module("tests.soak", *options)
        status = yield soak.ended
        self.assertEqual(status, 0, str(soak))
        for expected in (
            r"[1-9]\d* times something was done to a part",
            r"[1-9]\d* messages were answered 200",
            r"[1-9]\d*  came, once and in order",
            r" 0  unexplained",
        ):
            self.assertRegex(soak.output, expected)
