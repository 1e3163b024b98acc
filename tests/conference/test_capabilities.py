"""What kinds of client there are, by what they accept (RFC 4975 §8.6)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.conference.capabilities import Reception


class ReceptionTests(SynchronousTestCase):
    """What a client takes, by its two attributes (RFC 4975 §8.6)."""

    def test_kinds_of_client(self) -> None:
        for types, wrapped, expected in (
            ("message/cpim", "text/plain", Reception(True, ("text/plain",))),
            ("message/cpim", "", Reception(True, ("*",))),
            ("message/cpim text/plain", "", Reception(True, ("text/plain",))),
            ("message/*", "text/plain", Reception(True, ("message/*", "text/plain"))),
            ("*", "", Reception(True, ("*",))),
            ("text/plain", "", Reception(False, ("text/plain",))),
            ("text/*", "", Reception(False, ("text/*",))),
            # Explicit entries are preferred to what a wildcard lets in.
            ("text/plain *", "", Reception(False, ("*", "text/plain"))),
            ("text/plain * message/cpim", "", Reception(True, ("*", "text/plain"))),
            ("image/png", "", None),
            ("", "", None),
        ):
            found = Reception.of(tuple(types.split()), tuple(wrapped.split()))
            self.assertEqual(found, expected, types)

    def test_without_text(self) -> None:
        for types, served in (
            ("text/plain", False),
            ("text/plain *", True),
            ("message/cpim", True),
        ):
            found = Reception.of(tuple(types.split()), (), False)
            self.assertEqual(found is not None and found.cpim, served, types)

    def test_takes(self) -> None:
        some = Reception(True, ("image/*", "text/plain"))
        for media_type, taken in (
            ("text/plain", True),
            ("text/html", False),
            ("image/gif", True),
            ("imagery/gif", False),
        ):
            self.assertEqual(some.takes(media_type), taken, media_type)
