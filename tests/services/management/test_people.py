"""Operators and the people in a room that nobody has set up."""

from __future__ import annotations

from tests.conference.support import ROOM, cpim
from tests.services.management.support import PATH, ManagementTestCase

ALICE = f"{PATH}/participants/sip:alice@home.com"


class RoomTests(ManagementTestCase):
    def test_no_such_room(self) -> None:
        for path, said in (
            (PATH, "there is no room sip:conf1@conf.example.com"),
            ("/v1/rooms/lobby@nowhere", "there is no room sip:lobby@nowhere"),
            ("/v1/rooms/%20", "not the URI of a room"),
            ("/v1/rooms/tel:+1", "not the URI of a room"),
            ("/v1/rooms/sip:nowhere", "not the URI of a room"),
        ):
            self.refused(self.ask("GET", path), 404, said)
            self.refused(self.ask("DELETE", path), 404, said)
            self.refused(self.ask("POST", f"{path}/announcements", {"text": "x"}), 404, said)

    def test_one_room(self) -> None:
        self.configure(history_messages=5)
        alice = self.joined("alice")
        self.joined("bob")
        alice.say(cpim("hello"))
        room = self.get(PATH)
        self.assertEqual(
            {name: room[name] for name in ("uri", "static", "participants", "messages", "history")},
            {"uri": ROOM, "static": False, "participants": 2, "messages": 1, "history": 1},
        )
        self.assertEqual(room["users"], {"sip:alice@home.com": "owner"})
        self.assertEqual(room["settings"]["history_messages"], 5)
        self.assertIsNone(room["revision"])
        for text in ("conf1@conf.example.com", "sip%3Aconf1%40conf.example.com"):
            self.assertEqual(self.get(f"/v1/rooms/{text}"), room)

    def test_the_list_is_in_pages(self) -> None:
        for name in "dbace":
            self.joined(name, room=f"sip:{name}@conf.example.com")
        page = self.get("/v1/rooms?limit=2")
        self.assertEqual([each["uri"][4] for each in page["rooms"]], ["a", "b"])
        self.assertEqual(page["total"], 5)
        page = self.get(f"/v1/rooms?limit=2&after={page['next']}")
        page = self.get(f"/v1/rooms?limit=2&after={page['next']}")
        self.assertEqual([each["uri"][4] for each in page["rooms"]], ["e"])
        self.assertIsNone(page["next"])

    def test_the_list_is_filtered(self) -> None:
        for name in "ab":
            self.joined(name, room=f"sip:{name}@conf.example.com")
        self.registry.rooms["sip:a@conf.example.com"].subject = "Tea"
        for query, names in (
            ("match=tea", "a"),
            ("match=b@CONF", "b"),
            ("match=nothing", ""),
            ("kind=static", ""),
            ("kind=ad-hoc", "ab"),
            ("kind=occupied", "ab"),
        ):
            found = self.get(f"/v1/rooms?{query}")["rooms"]
            self.assertEqual("".join(each["uri"][4] for each in found), names, query)

    def test_there_is_no_database(self) -> None:
        reply = self.ask("POST", "/v1/rooms", {"uri": "lobby@example.com"})
        self.refused(reply, 409, "write [database] into its configuration")

    def test_change_while_it_is_there(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        change = {
            "subject": "Tea",
            "locked": True,
            "others": "visitor",
            "settings": {"burst": 7},
            "users": {"sip:carol@home.com": "member"},
        }
        reply = self.ask("PATCH", PATH, change)
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual((self.room.subject, self.room.settings.burst), ("Tea", 7))
        self.assertTrue(bob.participant.muted)
        self.assertFalse(alice.participant.muted)
        self.assertEqual(self.client("dave").invite().status, 403)
        reply = self.ask(
            "PATCH",
            PATH,
            {"subject": None, "locked": False, "users": {"carol@home.com": None}},
            content_type="application/merge-patch+json",
        )
        self.assertEqual((reply.json["subject"], reply.json["locked"]), ("", False))
        self.assertEqual(reply.json["users"], {"sip:alice@home.com": "owner"})

    def test_change_that_cannot_be(self) -> None:
        self.joined("alice")
        for change, status, said in (
            ({}, 400, "the body: {}"),
            ({"uri": "x@y"}, 400, "uri is unknown; the names are "),
            ({"subject": "a\nb"}, 422, "subject: must be one line of text"),
            ({"users": {"sip:": "owner"}}, 422, "roles: "),
            ({"users": {"*@home.com": "owner"}}, 422, "a whole domain cannot be owner"),
            ({"settings": {"types": ["text"]}}, 422, "settings: types: expected media types"),
            ({"revision": 1, "subject": "x"}, 422, "only a static room has one"),
        ):
            self.refused(self.ask("PATCH", PATH, change), status, said)

    def test_announce(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob", types="text/plain")
        reply = self.ask("POST", f"{PATH}/announcements", {"text": "We close at ten"})
        self.assertEqual(reply.json, {"recipients": 2})
        self.assertEqual(bob.hears_text(), ["*** We close at ten"])
        [heard] = alice.hears_text()
        self.assertIn(f"From: <{ROOM}>", heard)
        self.assertTrue(heard.endswith("We close at ten"))
        for text, status, said in (
            ("", 400, "text"),
            ("x" * 4001, 400, "text"),
            (" ", 422, "nothing to say"),
            ("\x1b[2J", 422, "without control characters"),
        ):
            self.refused(self.ask("POST", f"{PATH}/announcements", {"text": text}), status, said)

    def test_history(self) -> None:
        self.configure(history_messages=5)
        alice = self.joined("alice")
        for text in ("one", "two"):
            alice.say(cpim(text))
        alice.say(cpim(b"\x89PNG", content_type="image/png"))
        history = self.get(f"{PATH}/history?limit=2")
        self.assertEqual(history["total"], 3)
        self.assertEqual([each["text"] for each in history["messages"]], ["two", None])
        self.assertEqual([each["octets"] for each in history["messages"]], [3, 4])
        self.assertEqual(history["messages"][0]["from"], "sip:alice@home.com")
        self.assertEqual(self.ask("DELETE", f"{PATH}/history").status, 204)
        self.assertEqual(self.get(f"{PATH}/history")["total"], 0)

    def test_delete_with_people_in_it(self) -> None:
        for name in ("alice", "bob"):
            self.joined(name)
        self.assertEqual(self.ask("DELETE", PATH).json, {"removed": 2})
        self.assertEqual([each.method for each in self.channel.requests], ["BYE", "BYE"])
        self.assertNobodyIsLeft()

    def test_300_are_sent_out_by_one_command(self) -> None:
        for number in range(300):
            self.joined(f"u{number}")
        self.assertEqual(self.ask("DELETE", f"{PATH}/participants").json, {"removed": 300})
        byes = self.channel.requests
        self.assertEqual([each.method for each in byes], ["BYE"] * 300)
        self.assertEqual(len({each.call_id for each in byes}), 300)
        reason = byes[0].headers.get("Reason") or ""
        self.assertIn("The room was closed by the operator", reason)
        self.assertNobodyIsLeft()


class ParticipantTests(ManagementTestCase):
    def test_who_is_in(self) -> None:
        alice = self.joined("alice", from_='"Alice" <sip:alice@home.com>;tag=1')
        self.joined("bob")
        self.client("carol").invite()
        first, second, third = self.get(f"{PATH}/participants")["participants"]
        self.assertEqual(first["id"], alice.tag)
        self.assertEqual((first["user"], first["display_name"]), ("sip:alice@home.com", "Alice"))
        self.assertEqual(
            (first["role"], first["state"], first["muted"]), ("owner", "joined", False)
        )
        self.assertEqual((second["role"], second["connected"]), ("participant", True))
        self.assertEqual((third["state"], third["connected"]), ("expected", False))

    def test_pages(self) -> None:
        for name in "abc":
            self.joined(name)
        page = self.get(f"{PATH}/participants?limit=2")
        self.assertEqual([each["user"][4] for each in page["participants"]], ["a", "b"])
        after = page["next"]
        page = self.get(f"{PATH}/participants?limit=2&after={after}")
        self.assertEqual([each["user"][4] for each in page["participants"]], ["c"])
        self.assertIsNone(page["next"])
        gone = self.ask("GET", f"{PATH}/participants?after=nobody")
        self.refused(gone, 400, "after: they have left meanwhile")

    def test_who_is_anonymous_is_known_to_the_operator(self) -> None:
        client = self.client("x", from_="<sip:anonymous@anonymous.invalid>;tag=1")
        client.headers += (("P-Asserted-Identity", "<sip:alice@home.com>"),)
        client.join()
        (shown,) = self.get(f"{PATH}/participants")["participants"]
        self.assertEqual(shown["user"], "sip:alice@home.com")
        self.assertIn("anonymous.invalid", shown["uri"])
        self.assertEqual(self.get(f"{PATH}/participants/{shown['uri']}")["total"], 1)

    def test_all_devices_or_one(self) -> None:
        self.joined("bob")
        one = self.joined("alice")
        self.joined("alice", "2")
        self.assertEqual(self.get(ALICE)["total"], 2)
        reply = self.ask("DELETE", f"{PATH}/participants/{one.tag}")
        self.assertEqual(reply.json, {"removed": 1})
        self.assertIn("Removed by the operator", self.bye().headers.get("Reason") or "")
        self.assertEqual(self.ask("DELETE", ALICE).json, {"removed": 1})
        self.refused(self.ask("DELETE", ALICE), 404, "sip:alice@home.com is not in")
        self.assertEqual(len(self.room.participants), 1)

    def test_mute(self) -> None:
        self.joined("owner")
        alice, bob = self.joined("alice"), self.joined("bob")
        user = f"{PATH}/users/alice@home.com"
        reply = self.ask("PATCH", user, {"muted": True})
        self.assertEqual(reply.json["muted"], True)
        alice.say(cpim("hello"))
        self.assertEqual(alice.told(), ["403 you have no voice here: ask a moderator for it"])
        self.assertEqual(self.get(PATH)["muted"], ["sip:alice@home.com"])
        self.ask("PATCH", user, {"muted": False})
        alice.say(cpim("hello"))
        self.assertEqual(len(bob.hears()), 1)
        everybody = self.ask("PATCH", f"{PATH}/users/*@home.com", {"muted": True})
        self.refused(everybody, 422, "made visitors, not muted")

    def test_make_a_moderator_and_take_it_back(self) -> None:
        self.joined("owner")
        alice = self.joined("alice")
        user = f"{PATH}/users/sip:alice@home.com"
        self.assertEqual(
            self.get(user),
            {"user": "sip:alice@home.com", "role": None, "muted": False, "participants": 1},
        )
        self.ask("PATCH", user, {"role": "moderator"})
        self.assertEqual(alice.participant.role.text, "moderator")
        self.assertEqual(self.get(user)["role"], "moderator")
        self.ask("PATCH", user, {"role": None})
        self.assertEqual(alice.participant.role.text, "participant")

    def test_ban_and_let_in_again(self) -> None:
        self.joined("owner")
        self.joined("alice")
        user = f"{PATH}/users/sip:alice@home.com"
        reply = self.ask("PATCH", user, {"role": "banned"})
        self.assertEqual(reply.json["participants"], 0)
        self.assertIn("You are banned", self.bye().headers.get("Reason") or "")
        self.assertEqual(self.client("alice").invite().status, 403)
        self.ask("PATCH", user, {"role": None})
        self.assertEqual(self.client("alice").invite().status, 200)

    def test_users_that_cannot_be(self) -> None:
        self.joined("owner")
        for user, change, status, said in (
            ("%20", {"role": "member"}, 422, "not a user's URI"),
            ("sip:home.com", {"role": "member"}, 422, "a whole domain is *@home.com"),
            ("*@home.com", {"role": "owner"}, 422, "a whole domain cannot be owner"),
            ("sip:a@b", {"role": "king"}, 400, "'king' is not one of"),
        ):
            self.refused(self.ask("PATCH", f"{PATH}/users/{user}", change), status, said)

    def test_invite(self) -> None:
        self.joined("alice")
        path = f"{PATH}/invitations"
        users = ["carol@example.com", "tel:+15551234", "sip:alice@home.com"]
        reply = self.ask("POST", path, {"users": users})
        self.assertEqual(reply.status, 202, reply.body)
        self.assertEqual(reply.json, {"invited": ["sip:carol@example.com", "tel:+15551234"]})
        first, _second = self.channel.requests
        self.assertEqual((first.method, str(first.uri)), ("REFER", "sip:carol@example.com"))
        self.assertEqual(first.headers.get("Refer-To"), f"<{ROOM}>")
        self.channel.answer(404)
        states = {each["user"]: each["state"] for each in self.get(path)["invitations"]}
        self.assertEqual(states["sip:carol@example.com"], "failed")
        for text in ("sip:example.com", "http://example.com", "a b", "sip:x@y?a"):
            reply = self.ask("POST", path, {"users": [text]})
            self.refused(reply, 422, f"{text} cannot be invited")


class DrainTests(ManagementTestCase):
    def test_nobody_new_is_taken_in(self) -> None:
        alice, bob = self.joined("alice"), self.joined("bob")
        reply = self.ask("PUT", "/v1/drain")
        self.assertEqual(
            reply.json,
            {"draining": True, "deadline": None, "kept": False, "rooms": 1, "participants": 2},
        )
        answer = self.client("carol").invite()
        self.assertEqual((answer.status, answer.headers.get("Retry-After")), (503, "60"))
        self.assertEqual(answer.reason, "This server takes nobody new: try again later")
        alice.say(cpim("still here"))
        self.assertEqual(len(bob.hears()), 1)
        alice.send("BYE")
        self.assertEqual(self.get("/v1/drain")["participants"], 1)
        self.assertFalse(self.ask("DELETE", "/v1/drain").json["draining"])
        self.assertEqual(self.client("carol").invite().status, 200)

    def test_readiness(self) -> None:
        self.assertEqual(self.get("/readyz"), {"status": "ok", "reasons": []})
        self.ask("PUT", "/v1/drain")
        self.started = False
        reply = self.ask("GET", "/readyz")
        self.assertEqual((reply.status, reply.json["status"]), (503, "not ready"))
        self.assertEqual(len(reply.json["reasons"]), 2)
        self.assertEqual(self.ask("GET", "/healthz").status, 200)
        self.assertFalse(self.get("/v1/status")["ready"])
