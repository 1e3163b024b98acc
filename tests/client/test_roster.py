"""A roster is what the documents of one subscription come to, in whatever order (RFC 4575 §4.6)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client import roster
from msrpconf.client.roster import Outcome, Roster
from msrpconf.conference.states import ended_document
from msrpconf.protocols.conference_info import (
    NAMESPACE,
    ConferenceState,
    Description,
    Endpoint,
    Execution,
    Host,
    Media,
    MediaEntry,
    UriEntry,
    User,
    deleted_user_element,
    description_element,
    document,
    host_element,
    state_element,
    user_element,
    users_element,
)
from msrpconf.protocols.conference_info_reading import read_document
from msrpconf.protocols.xml import XmlError
from tests.documents import read

ROOM = "sip:conf1@conf.example.com"
ALICE, BOB = "sip:alice@home.com", "sip:bob@home.com"
DEVICE = Endpoint("sip:alice@192.0.2.1", "connected")


def full(version: int, *users: User, parts: tuple[bytes, ...] = ()) -> bytes:
    return document(ROOM, "full", version, (*parts, users_element(map(user_element, users))))


def partial(version: int, *elements: bytes, state: str = "partial") -> bytes:
    return document(ROOM, "partial", version, (users_element(elements, state),))


def xml(version: int, inside: str, state: str = "partial") -> bytes:
    """A document as another server writes it."""
    return (
        f'<ci:conference-info xmlns:ci="{NAMESPACE}" entity="{ROOM}" state="{state}"'
        f' version="{version}">{inside}</ci:conference-info>'
    ).encode()


class RosterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.roster = Roster()

    def apply(self, octets: bytes, outcome: Outcome = Outcome.APPLIED) -> None:
        read(octets)
        self.assertIs(self.roster.apply(octets), outcome)

    def test_full_then_partial(self) -> None:
        about = description_element(Description(subject="Fish"))
        state = state_element(ConferenceState(1, True, False))
        self.apply(full(3, User(ALICE, endpoints=(DEVICE,)), parts=(about, state)))
        self.assertTrue(self.roster.complete)
        self.apply(partial(4, user_element(User(BOB, "Bob")), deleted_user_element(ALICE)))
        self.assertEqual(self.roster.users, {BOB: User(BOB, "Bob")})
        self.assertEqual(self.roster.version, 4)
        self.assertEqual(self.roster.description.subject, "Fish")
        self.assertEqual(self.roster.state.user_count, 1)
        self.apply(partial(5, state="full"))
        self.assertEqual(self.roster.users, {})

    def test_what_is_old_is_not_used(self) -> None:
        self.apply(full(3, User(ALICE)))
        self.apply(full(3, User(BOB)), Outcome.OLD)
        self.apply(partial(2, user_element(User(BOB))), Outcome.OLD)
        self.assertEqual(list(self.roster.users), [ALICE])

    def test_a_gap_needs_a_full_document(self) -> None:
        self.apply(full(1, User(ALICE)))
        self.apply(partial(3, user_element(User(BOB))), Outcome.GAP)
        self.assertFalse(self.roster.complete)
        self.assertEqual(list(self.roster.users), [ALICE])
        self.apply(partial(2, user_element(User(BOB))), Outcome.GAP)
        self.apply(full(3, User(BOB)))
        self.assertTrue(self.roster.complete)
        self.apply(partial(4, user_element(User(ALICE))))

    def test_a_refresh_after_a_gap_may_bring_the_same_version(self) -> None:
        self.apply(full(1, User(ALICE)))
        self.apply(partial(3), Outcome.GAP)
        self.apply(full(1, User(BOB)))
        self.assertTrue(self.roster.complete)

    def test_a_partial_document_is_no_beginning(self) -> None:
        self.apply(partial(1, user_element(User(BOB))), Outcome.GAP)
        self.apply(full(0, User(ALICE)))

    def test_a_new_subscription(self) -> None:
        self.apply(full(7, User(ALICE)))
        self.roster.begin()
        self.assertEqual(self.roster.users, {})
        self.apply(full(0, User(BOB)))

    def test_another_subscription_begins_with_a_full_document(self) -> None:
        self.apply(full(7, User(ALICE)))
        self.roster.begin_again()
        self.assertFalse(self.roster.complete)
        self.assertEqual(list(self.roster.users), [ALICE])
        self.apply(partial(8, user_element(User(BOB))), Outcome.GAP)
        self.apply(full(0, User(BOB)))
        self.assertEqual(dict(self.roster.touched), {ALICE: User(ALICE), BOB: None})
        self.assertTrue(self.roster.complete)

    def test_what_is_told_in_pieces_is_bounded(self) -> None:
        self.patch(roster, "MAX_OCTETS", 2000)
        self.apply(full(0))
        pieces = 0
        while self.roster.apply(partial(pieces + 1, user_element(User(ALICE)))) is Outcome.APPLIED:
            pieces += 1
        self.assertIn(pieces, range(2, 10))
        self.assertFalse(self.roster.complete)
        self.apply(full(pieces + 1, User(BOB)))
        self.apply(partial(pieces + 2, user_element(User(ALICE))))

    def test_the_end(self) -> None:
        self.apply(full(7, User(ALICE)))
        self.apply(ended_document(ROOM, 8), Outcome.ENDED)
        self.assertTrue(self.roster.ended)
        self.assertEqual(self.roster.users, {})

    def test_who_is_present(self) -> None:
        statuses = ("connected", "on-hold", "muted-via-focus", "pending", "disconnected")
        users = [User(f"sip:{each}@x", endpoints=(Endpoint("e", each),)) for each in statuses]
        self.apply(full(1, *users, User("sip:plain@x")))
        names = [each.entity[4:-2] for each in self.roster.present]
        self.assertEqual(names, ["connected", "on-hold", "muted-via-focus", "plain"])

    def test_users_and_endpoints_in_part(self) -> None:
        """As other servers may have them."""
        alice = User(
            ALICE, "Alice", "Al", ("owner",), (DEVICE, Endpoint("sip:alice@192.0.2.2", "pending"))
        )
        self.apply(full(1, alice))
        self.apply(
            xml(
                2,
                '<ci:users state="partial">'
                f'<ci:user entity="{ALICE}" state="partial">'
                '<ci:endpoint entity="sip:alice@192.0.2.1" state="partial">'
                '<ci:status>on-hold</ci:status><ci:media id="1"/></ci:endpoint>'
                '<ci:endpoint entity="sip:alice@192.0.2.2" state="deleted"/>'
                '<ci:endpoint entity="sip:alice@192.0.2.3"><ci:status>connected</ci:status>'
                "</ci:endpoint></ci:user>"
                f'<ci:user entity="{BOB}" state="partial"><ci:display-text>Bob</ci:display-text>'
                "</ci:user></ci:users>",
            )
        )
        found = self.roster.users[ALICE]
        self.assertEqual(
            (found.display_text, found.nickname, found.roles), ("Alice", "Al", ("owner",))
        )
        statuses = [(each.entity[-1], each.status) for each in found.endpoints]
        self.assertEqual(statuses, [("1", "on-hold"), ("3", "connected")])
        self.assertEqual(found.endpoints[0].media, (Media("1"),))
        self.assertEqual(self.roster.users[BOB].display_text, "Bob")

    def test_the_examples_way_of_writing(self) -> None:
        """RFC 4575 §7.1: no state on most elements, comments, white space."""
        self.apply(
            xml(
                1,
                "<!-- USERS --><ci:users>\n<ci:user entity='sip:bob@example.com'>"
                "<ci:display-text>Bob<!-- no --> Hoskins</ci:display-text>\n"
                "<ci:endpoint entity='sip:bob@pc33.example.com'>"
                "<ci:status>disconnected</ci:status>"
                "<ci:disconnection-info><ci:when>2005-03-04T20:00:00Z</ci:when>"
                "<ci:reason>bad voice quality</ci:reason><ci:by>sip:mike@example.com</ci:by>"
                "</ci:disconnection-info></ci:endpoint></ci:user></ci:users>",
                "full",
            )
        )
        (bob,) = self.roster.users.values()
        self.assertEqual(bob.display_text, "Bob Hoskins")
        self.assertEqual(
            bob.endpoints[0].disconnection_info,
            Execution(1109966400.0, "bad voice quality", "sip:mike@example.com"),
        )

    def test_what_is_no_document_changes_nothing(self) -> None:
        self.apply(full(1, User(ALICE)))
        for octets in (
            b"",
            b"<a/>",
            b"<!DOCTYPE a><a/>",
            xml(2, "").replace(b'version="2"', b""),
            xml(2, "").replace(b'version="2"', b'version="-2"'),
            xml(2, "").replace(b'version="2"', b'version="' + b"9" * 5000 + b'"'),
            xml(2, "", "upside-down"),
            xml(2, '<ci:users state="partial"><ci:user/></ci:users>'),
            document("sip:other@conf.example.com", "partial", 2),
        ):
            with self.assertRaises(XmlError):
                self.roster.apply(octets)
            self.assertEqual((list(self.roster.users), self.roster.version), ([ALICE], 1))

    def test_no_more_users_than_a_bound(self) -> None:
        self.patch(roster, "MAX_USERS", 2)
        self.apply(full(1, User(ALICE)))
        many = [user_element(User(f"sip:u{index}@x")) for index in range(2)]
        with self.assertRaises(XmlError):
            self.roster.apply(partial(2, *many))
        self.assertEqual(list(self.roster.users), [ALICE])


_TEXT = st.text(max_size=12)
_SAFE = st.one_of(st.none(), _TEXT.map(lambda text: "".join(filter(str.isprintable, text))))
_STATUS = st.sampled_from([None, "pending", "connected", "on-hold", "disconnected"])
_DONE = st.one_of(
    st.none(),
    st.builds(Execution, st.integers(0, 2**31).map(float), _SAFE, st.none() | st.just(BOB)),
)
_ENDPOINTS = st.lists(
    st.builds(
        Endpoint,
        entity=st.sampled_from(["sip:a@h", "sip:b@h;x=<&>", "x y"]),
        status=_STATUS,
        referred=_DONE,
        joining_info=_DONE,
        disconnection_info=_DONE,
        media=st.lists(
            st.builds(Media, st.just("1"), st.just("message"), _SAFE, st.just("sendrecv")),
            max_size=1,
        ).map(tuple),
    ),
    max_size=2,
    unique_by=lambda each: each.entity,
).map(tuple)
_USERS = st.builds(
    User,
    entity=st.sampled_from([ALICE, BOB, "sip:x%20y@h", "tel:+1"]),
    display_text=_SAFE,
    nickname=_SAFE,
    roles=st.lists(st.sampled_from(["owner", "visitor"]), max_size=2).map(tuple),
    endpoints=_ENDPOINTS,
)


class DocumentTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.lists(_USERS, max_size=3, unique_by=lambda each: each.entity), _SAFE, _SAFE)
    def test_what_is_written_is_read(self, users: list[User], subject: str, name: str) -> None:
        about = Description(
            name,
            subject,
            None,
            (UriEntry(ROOM, "participation", name),),
            (UriEntry(ROOM, "event"),),
            5,
            (MediaEntry("chat", "message", "sendrecv", name),),
        )
        host = Host(name, "https://example.com/?a=b&c=d", (UriEntry(BOB),))
        state = ConferenceState(7, True, False)
        parts = (description_element(about), host_element(host), state_element(state))
        octets = full(9, *users, parts=parts)
        read(octets)
        found = read_document(octets)
        self.assertEqual((found.uri, found.state, found.version), (ROOM, "full", 9))
        self.assertEqual(found.description, about)
        self.assertEqual(found.host, host)
        self.assertEqual(found.conference_state, state)
        assert found.users is not None
        self.assertEqual([each.user for each in found.users.users], users)

    @settings(deadline=None)
    @given(st.text(), st.text())
    def test_whatever_somebody_is_called_the_document_is_valid(self, uri: str, name: str) -> None:
        uri = f"sip:{uri}"
        user = User(uri, name, name, (name,), (Endpoint(uri, "connected", name),))
        done = Execution(0, name, uri)
        read(full(1, user, User("sip:b@h", endpoints=(Endpoint(uri, referred=done),))))

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_whatever_comes_is_read_or_refused(self, octets: bytes) -> None:
        for each in (octets, xml(1, "").replace(b"></ci:", b">" + octets + b"</ci:")):
            try:
                Roster().apply(each)
            except XmlError:
                pass
