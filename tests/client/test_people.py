from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from msrpconf.client.message import Person
from msrpconf.client.people import MAX_PEOPLE, People, UnknownPerson

ME = "sip:alice@example.com"
BOB = "sip:bob@example.com"
EVE = "sip:eve@example.net"


class PeopleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.people = People(ME)

    def refused(self, name: str) -> str:
        with self.assertRaises(UnknownPerson) as caught:
            self.people.named(name)
        return str(caught.exception)

    def test_each_way_to_name_somebody(self) -> None:
        self.people.heard(Person("sip:bob@example.com:5070", "Bob Builder"))
        for name in ("bob", "BOB", "Bob  builder", "bob@example.com", "sip:bob@EXAMPLE.com"):
            person = self.people.named(name)
            self.assertEqual(person.name, "Bob Builder", name)
            self.assertEqual(person.key, BOB)

    def test_an_address_need_not_be_known(self) -> None:
        self.assertEqual(self.people.named("dave@example.com"), Person("sip:dave@example.com"))
        self.assertEqual(self.people.named("tel:+1555"), Person("tel:+1555"))
        self.assertIn("Nobody called dave", self.refused("dave"))

    def test_one_is_not_among_the_others(self) -> None:
        self.people.heard(Person("sip:alice@example.com:5060", "Alice"))
        self.assertEqual(len(self.people), 0)

    def test_who_takes_the_name_of_another_makes_it_mean_nobody(self) -> None:
        self.people.heard(Person(BOB))
        self.people.heard(Person(EVE, "bob"))
        self.assertEqual(
            self.refused("bob"),
            "bob may be bob@example.com or eve@example.net: name one by the address",
        )
        self.assertEqual(self.people.named("eve").uri, EVE)

    def test_what_the_room_tells(self) -> None:
        self.people.told("bob@example.com has joined")
        self.assertEqual(self.people.named("bob"), Person(BOB))
        self.people.told('bob@example.com is now The "great" Bob <bob@example.com>')
        self.assertEqual(self.people.named('the "great" bob').uri, BOB)
        self.people.told('The "great" Bob <bob@example.com> is now bob@example.com')
        self.assertIn("Nobody", self.refused('the "great" bob'))
        self.people.told("Ally <eve@example.net> has joined")
        self.assertEqual(self.people.named("ally"), Person(EVE, "Ally"))
        self.people.told("Ally <eve@example.net> has left")
        self.assertIn("Nobody", self.refused("ally"))

    def test_what_the_room_tells_of_a_voice(self) -> None:
        told = self.people.told
        self.assertEqual(told("Ally <eve@example.net> has no voice any more"), ("muted", EVE))
        self.assertEqual(told("eve@example.net has a voice again"), ("unmuted", EVE))
        said = "eve@example.net has taken your voice: what you say is not sent"
        self.assertEqual(told(said), ("muted", ME))
        self.assertEqual(told("eve@example.net has given you a voice again"), ("unmuted", ME))
        self.assertEqual([each.uri for each in self.people], [EVE])

    def test_a_nickname_that_looks_like_a_notice(self) -> None:
        self.people.told("x <bob@example.com> has joined <eve@example.net> has joined")
        self.assertEqual([person.uri for person in self.people], [EVE])

    def test_what_is_about_nobody(self) -> None:
        for text in ("Your connection was too slow", "bob has joined", "has joined", "a@b is now"):
            self.people.told(text)
        self.assertEqual(len(self.people), 0)

    def test_a_crowd_takes_no_more_than_its_place(self) -> None:
        for number in range(MAX_PEOPLE + 10):
            self.people.heard(Person(f"sip:{number}@example.com"))
        self.assertEqual(len(self.people), MAX_PEOPLE)
        self.assertIn("Nobody", self.refused("9"))
        self.assertEqual(self.people.named("10").uri, "sip:10@example.com")

    def test_names_for_a_line(self) -> None:
        self.people.heard(Person(BOB, "Bob Builder"))
        self.people.heard(Person(EVE, "E\x1bve"))
        self.assertEqual(self.people.names(), ["bob", "eve"])

    @settings(deadline=None, max_examples=200)
    @given(st.text(max_size=60))
    def test_any_text_of_a_room_is_read(self, text: str) -> None:
        self.people.told(text)
        self.people.told(f"{text} <a@b> has joined")
