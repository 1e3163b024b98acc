"""Who watches a room, as its owners are told (RFC 3857, RFC 3858)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import watchers
from msrpconf.client.roster import Outcome
from msrpconf.client.watchers import WatcherList
from msrpconf.protocols.watcher_info import EVENTS, STATUSES, Watcher, document, watcher_element
from msrpconf.protocols.watcher_info_reading import read_watchers
from msrpconf.protocols.xml import XmlError

ROOM = "sip:lobby@example.com"
DAVE = Watcher("1", "sip:dave@example.com", "pending", "subscribe", "Dave", 5, 3595)
ERIN = Watcher("2", "sip:erin@example.com", "active", "approved")


def told(state: str, version: int, *watching: Watcher, package: str = "conference") -> bytes:
    return document(ROOM, package, state, version, map(watcher_element, watching))


class WatcherListTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.list = WatcherList()

    def apply(self, octets: bytes, outcome: Outcome = Outcome.APPLIED) -> list[Watcher]:
        self.assertIs(self.list.apply(octets), outcome)
        return self.list.changed

    def test_who_comes_is_decided_about_and_goes(self) -> None:
        self.assertEqual(self.apply(told("full", 0, DAVE)), [DAVE])
        self.assertEqual(self.apply(told("partial", 1, ERIN)), [ERIN])
        allowed = Watcher("1", DAVE.uri, "active", "approved")
        self.assertEqual(self.apply(told("partial", 2, allowed)), [allowed])
        self.assertEqual(dict(self.list.watchers), {"1": allowed, "2": ERIN})
        gone = Watcher("1", DAVE.uri, "terminated", "timeout")
        self.assertEqual(self.apply(told("partial", 3, gone)), [gone])
        self.assertEqual(dict(self.list.watchers), {"2": ERIN})

    def test_what_is_told_again_is_no_news(self) -> None:
        self.apply(told("full", 0, DAVE))
        self.assertEqual(self.apply(told("full", 1, DAVE, ERIN)), [ERIN])
        (gone,) = self.apply(told("full", 2, ERIN))
        self.assertEqual((gone.uri, gone.status), (DAVE.uri, "terminated"))

    def test_a_gap_needs_a_full_document(self) -> None:
        self.apply(told("full", 0, DAVE))
        self.apply(told("partial", 2, ERIN), Outcome.GAP)
        self.apply(told("partial", 1, ERIN), Outcome.GAP)
        self.apply(told("full", 2, ERIN))
        self.apply(told("partial", 2, DAVE), Outcome.OLD)
        self.list.begin_again()
        self.apply(told("partial", 3, DAVE), Outcome.GAP)
        self.apply(told("full", 0, DAVE))

    def test_what_is_no_document_changes_nothing(self) -> None:
        self.apply(told("full", 0, DAVE))
        for octets in (
            b"",
            b"<a/>",
            told("full", 1).replace(b'version="1"', b'version="x"'),
            told("upside-down", 1),
            told("full", 1, DAVE).replace(b' id="1"', b""),
            told("full", 1, DAVE).replace(b"pending", b"waving"),
        ):
            with self.assertRaises(XmlError):
                self.list.apply(octets)
        self.assertEqual(dict(self.list.watchers), {"1": DAVE})

    def test_bounds(self) -> None:
        self.patch(watchers, "MAX_USERS", 1)
        self.apply(told("full", 0, DAVE))
        with self.assertRaises(XmlError):
            self.list.apply(told("partial", 1, ERIN))
        self.patch(watchers, "MAX_OCTETS", 100)
        self.apply(told("partial", 1, DAVE), Outcome.GAP)

    def test_other_packages_are_left_out(self) -> None:
        self.assertEqual(self.apply(told("full", 0, DAVE, package="presence")), [])


class ReadingTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(
        st.builds(
            Watcher,
            st.text("abc123", min_size=1, max_size=5),
            st.just("sip:x@example.com"),
            st.sampled_from(STATUSES),
            st.sampled_from(EVENTS),
            st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF)),
            st.none() | st.integers(0, 10**9),
            st.none() | st.integers(0, 10**9),
        )
    )
    def test_what_is_written_is_read(self, watcher: Watcher) -> None:
        found = read_watchers(told("full", 3, watcher), "conference")
        self.assertEqual((found.state, found.version), ("full", 3))
        self.assertEqual(found.watchers, (watcher,))

    @settings(deadline=None)
    @given(st.integers(0, 400), st.binary(max_size=4))
    def test_whatever_comes_is_read_or_refused(self, place: int, octets: bytes) -> None:
        good = told("partial", 1, DAVE, ERIN)
        try:
            read_watchers(good[:place] + octets + good[place + len(octets) :], "conference")
        except XmlError:
            return
