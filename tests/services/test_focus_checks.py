"""What the focus refuses before the server hears of it, and with what (RFC 3261 §8.2)."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from attrs import evolve

from msrpconf.conference.decision import Denied
from msrpconf.protocols.sip.flow import Flow
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import SipURI
from msrpconf.services.focus_checks import (
    FocusSettings,
    check_source,
    conference_uri,
    takes_sdp,
)
from tests.services.support import (
    OFFER,
    SETTINGS,
    STRANGER,
    TLS,
    TLS_STRANGER,
    UDP,
    FocusTestCase,
    room_of,
    sip,
)

ALL_METHODS = "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, REFER, NOTIFY"


class SourceTests(FocusTestCase):
    def test_only_trusted_networks_are_taken(self) -> None:
        for host, taken in (
            ("127.0.0.1", True),
            ("127.3.2.1", True),
            ("::1", True),
            ("::ffff:127.0.0.1", True),
            ("::1%lo", True),
            ("192.0.2.1", False),
            ("::ffff:192.0.2.1", False),
            ("2001:db8::1", False),
        ):
            with self.subTest(host):
                self.assertEqual(check_source(host, FocusSettings()) is None, taken)
        settings = FocusSettings(
            trusted=(IPv4Network("192.0.2.0/24"), IPv6Network("2001:db8::/32"))
        )
        self.assertIsNone(check_source("2001:db8::1", settings))
        self.assertIsNone(check_source("192.0.2.1", settings))
        self.assertIsNotNone(check_source("127.0.0.1", settings))

    def test_a_proxy_that_has_proved_its_name(self) -> None:
        settings = FocusSettings(trusted=(), trusted_names=frozenset({"proxy.example.com"}))
        for proven, taken in (
            ({"proxy.example.com"}, True),
            ({"proxy.example.com", "other.example.com"}, True),
            ({"example.com"}, False),
            ({"a.proxy.example.com"}, False),
            ({"*.example.com"}, False),
            (set(), False),
        ):
            with self.subTest(proven):
                denied = check_source("192.0.2.1", settings, frozenset(proven))
                self.assertEqual(denied is None, taken)
        names = frozenset({"other.example.com", "evil\n"})
        denied = check_source("192.0.2.1", settings, names)
        assert denied is not None
        self.assertEqual(
            denied.reason,
            "Requests from 192.0.2.1, whose certificate is for 'evil\\n', 'other.example.com',"
            " are not taken here: come through the proxy",
        )

    def test_requests_of_such_a_proxy_are_taken_by_its_connection_alone(self) -> None:
        self.start(FocusSettings(trusted=(), trusted_names=frozenset({"proxy.example.com"})))
        self.proven[TLS_STRANGER] = frozenset({"proxy.example.com"})
        self.receive(sip(), TLS_STRANGER)
        self.assertEqual(self.channel.methods, ["INVITE"])
        self.channel.answer()
        ack = sip("ACK", to_tag="local.77", branch="z9hG4bKack")
        self.receive(ack, TLS_STRANGER)
        self.assertEqual(self.channel.methods, ["INVITE", "ACK"])
        self.assertRefused(sip(branch="z9hG4bKtwo", call_id="c2"), 403, "192.0.2.9", flow=TLS)

    def test_a_stranger_gets_403_for_anything(self) -> None:
        for method in ("INVITE", "BYE", "OPTIONS", "CANCEL", "REGISTER", "FROBNICATE"):
            with self.subTest(method):
                self.start()
                self.assertRefused(
                    sip(method), 403, "198.51.100.1 are not taken here", flow=STRANGER
                )

    def test_a_stranger_costs_no_memory(self) -> None:
        for number in range(3):
            self.receive(sip(branch=f"z9hG4bK{number}", call_id=f"c{number}"), STRANGER)
        self.assertEqual(self.wire.statuses, [403, 403, 403])
        self.assertEqual(self.layer.server_transactions, 0)
        # A repetition gets the same tag, so that an ACK for either fits.
        self.receive(sip(branch="z9hG4bK0", call_id="c0"), STRANGER)
        self.assertEqual(self.last().to.tag, self.wire.responses[0].to.tag)

    def test_a_stranger_fills_no_log(self) -> None:
        for number in range(100):
            self.receive(sip(branch=f"z9hG4bK{number}", call_id=f"c{number}"), STRANGER)
        self.assertEqual(len(self.wire.responses), 100)
        self.assertEqual(len(self.refusals), 10)
        self.clock.advance(61)
        self.receive(sip(branch="z9hG4bKlater", call_id="later"), STRANGER)
        self.assertIn("90 such lines were left out", self.refusals[-1])

    def test_a_strangers_ack_and_cancel_do_nothing(self) -> None:
        self.receive(sip())
        self.channel.answer()
        self.receive(sip("ACK", branch="z9hG4bKack", to_tag="local.77"), STRANGER)
        self.assertEqual(self.channel.methods, ["INVITE"])
        self.seconds(1)
        self.assertEqual(self.wire.statuses, [200, 200])
        self.start()
        self.receive(sip())
        self.receive(sip("CANCEL"), STRANGER)
        self.channel.answer()
        self.assertEqual(self.wire.statuses, [403, 200])


class MethodTests(FocusTestCase):
    def test_405_for_what_others_serve(self) -> None:
        for method in ("REGISTER", "MESSAGE", "INFO", "PRACK", "PUBLISH", "SUBSCRIBE"):
            for tag in (None, "local.77"):
                with self.subTest(method, tag=tag):
                    self.start()
                    response = self.assertRefused(sip(method, to_tag=tag), 405, method)
                    self.assertEqual(response.headers.get("Allow"), ALL_METHODS)

    def test_501_for_what_nobody_knows(self) -> None:
        response = self.assertRefused(sip("FROBNICATE"), 501, "FROBNICATE is not known")
        self.assertEqual(response.headers.get("Allow"), ALL_METHODS)
        # Methods have case (RFC 3261 §7.1).
        self.start()
        self.assertRefused(sip("invite"), 501)

    def test_a_long_method_makes_no_long_reason(self) -> None:
        response = self.assertRefused(sip("X" * 5000), 501, logged=False)
        self.assertLess(len(response.reason), 100)


class UriTests(FocusTestCase):
    settings = evolve(SETTINGS, domains=("conf.example.com", "[2001:db8::1]"))

    def start(self, settings: FocusSettings | None = None, max_transactions: int = 1000) -> None:
        super().start(settings or self.settings, max_transactions)

    def test_416_for_what_is_no_sip_uri(self) -> None:
        for method in ("INVITE", "OPTIONS"):
            for uri in ("tel:+15551234", "pres:lobby@conf.example.com", "im:a@b", "http://a/b"):
                with self.subTest(uri, method=method):
                    self.start()
                    self.assertRefused(sip(method, uri=uri), 416, uri.partition(":")[0])

    def test_404_for_a_foreign_domain(self) -> None:
        self.assertRefused(sip(uri="sip:lobby@example.org"), 404, "example.org is not")

    def test_404_without_a_user(self) -> None:
        self.assertRefused(sip(uri="sip:conf.example.com"), 404, "sip:room@domain")
        # OPTIONS is answered as an INVITE would be (§11.2).
        self.start()
        self.assertRefused(sip("OPTIONS", uri="sip:conf.example.com"), 404)

    def test_483_where_it_would_have_to_go_on(self) -> None:
        self.assertRefused(sip(uri="sip:lobby@example.org", max_forwards=0), 483, "Max-Forwards")

    def test_the_last_hop_may_be_us(self) -> None:
        self.receive(sip(max_forwards=0))
        self.assertEqual(self.channel.methods, ["INVITE"])

    def test_414_for_a_name_without_end(self) -> None:
        self.assertRefused(
            sip(uri=f"sip:{'x' * 256}@conf.example.com"), 414, "at most 255", logged=False
        )
        self.start()
        self.receive(sip(uri=f"sip:{'x' * 255}@conf.example.com"))
        self.assertEqual(self.channel.methods, ["INVITE"])

    def test_one_room_has_one_name(self) -> None:
        for uri in (
            "sip:lobby@conf.example.com",
            "sip:lobby@CONF.example.com:5080;transport=tcp",
            "sip:lobby:secret@conf.example.com;x=y",
            "sip:%6cobby@conf.example.com",
            "sip:lobby@192.0.2.1:5060;transport=tcp;room-domain=conf.example.com",
            "sip:lobby@192.0.2.1;Room-Domain=Conf.Example.Com",
        ):
            with self.subTest(uri):
                self.start()
                self.receive(sip(uri=uri))
                self.assertEqual(room_of(self.channel.asked[0]), "sip:lobby@conf.example.com")
        self.start()
        self.receive(sip(uri="sips:lobby@conf.example.com"), TLS)
        self.assertEqual(room_of(self.channel.asked[0]), "sip:lobby@conf.example.com")

    def test_rooms_with_names_that_need_escapes(self) -> None:
        self.receive(sip(uri="sip:caf%C3%A9%20%40home@conf.example.com"))
        self.assertEqual(room_of(self.channel.asked[0]), "sip:caf%C3%A9%20%40home@conf.example.com")

    def test_a_domain_of_ours_does_not_open_others(self) -> None:
        uri = "sip:lobby@conf.example.com;room-domain=example.org"
        self.assertRefused(sip(uri=uri), 404, "example.org")

    def test_400_for_a_room_domain_that_is_none(self) -> None:
        for domain in ("a%20b", "a%3Bb", "a%3Eb", "a%3Ax%3Fy", "[::1"):
            with self.subTest(domain):
                self.start(SETTINGS)
                uri = f"sip:lobby@192.0.2.1;room-domain={domain}"
                self.assertRefused(sip(uri=uri), 400, "room-domain")

    def test_any_domain(self) -> None:
        found = conference_uri(sip(uri="sip:lobby@[2001:DB8::1]:5060"), FocusSettings())
        self.assertEqual(str(found), "sip:lobby@[2001:db8::1]")
        self.assertIsInstance(found, SipURI)
        self.assertIsInstance(conference_uri(sip(uri="sip:192.0.2.1"), FocusSettings()), Denied)


class BeginningTests(FocusTestCase):
    def test_481_for_what_belongs_in_a_dialog(self) -> None:
        for method in ("BYE", "UPDATE"):
            with self.subTest(method):
                self.start()
                self.assertRefused(sip(method), 481, f"{method} outside a dialog")

    def test_481_for_cancel_without_invite(self) -> None:
        self.assertRefused(sip("CANCEL"), 481, "no such INVITE")

    def test_481_for_who_wants_to_take_anothers_place(self) -> None:
        for header in ("Replaces: x@y;to-tag=1;from-tag=2", "Join: x@y;to-tag=1;from-tag=2"):
            with self.subTest(header):
                self.start()
                self.assertRefused(sip("INVITE", header), 481, header.partition(":")[0])

    def test_400_where_nobody_can_be_told_from_a_name(self) -> None:
        self.assertRefused(
            sip("INVITE", "P-Asserted-Identity: <sip:alice@"), 400, "P-Asserted-Identity"
        )

    def test_400_without_a_way_to_the_client(self) -> None:
        for contact in (
            None,
            "*",
            "<sip:a@192.0.2.9>, <sip:b@192.0.2.9>",
            "<tel:+1555>",
            "<mailto:alice@example.com>",
        ):
            with self.subTest(contact):
                self.start()
                self.assertRefused(sip(contact=contact), 400, "one Contact with a sip URI")

    def test_in_a_dialog_the_contact_may_stay_away_but_not_be_useless(self) -> None:
        for method in ("INVITE", "UPDATE"):
            self.start()
            self.receive(sip(method, to_tag="local.77", contact=None))
            self.assertEqual(self.channel.methods, [method])
            self.start()
            self.assertRefused(sip(method, to_tag="local.77", contact="<tel:+1>"), 400, "Contact")


class ExtensionTests(FocusTestCase):
    def test_420_names_what_is_unsupported(self) -> None:
        response = self.assertRefused(
            sip("INVITE", "Require: 100rel, path", "Require: replaces"), 420, "100rel"
        )
        self.assertEqual(response.headers.get("Unsupported"), "100rel, path, replaces")

    def test_420_in_a_dialog_too(self) -> None:
        self.assertRefused(sip("BYE", "Require: foo", to_tag="local.77"), 420)

    def test_what_is_only_offered_does_no_harm(self) -> None:
        self.receive(sip("INVITE", "Supported: 100rel, timer", "Proxy-Require: foo"))
        self.assertEqual(self.channel.methods, ["INVITE"])

    def test_require_in_cancel_is_ignored(self) -> None:
        self.receive(sip())
        self.receive(sip("CANCEL", "Require: foo"))
        self.assertEqual(self.wire.statuses, [200, 487])

    def test_420_with_many_tags_has_a_short_reason(self) -> None:
        tags = ", ".join(f"tag{number}" for number in range(500))
        response = self.assertRefused(sip("INVITE", f"Require: {tags}"), 420)
        self.assertEqual(response.headers.get("Unsupported"), tags)
        self.assertLess(len(response.reason), 150)

    def test_400_for_a_require_that_is_none(self) -> None:
        self.assertRefused(sip("INVITE", "Require: a b"), 400, "Require")

    def test_421_for_what_the_operator_requires(self) -> None:
        settings = evolve(SETTINGS, require=("Gruu", "outbound"))
        self.start(settings)
        response = self.assertRefused(sip("INVITE", "Supported: outbound"), 421, "Gruu")
        self.assertEqual(response.headers.get("Require"), "Gruu")
        self.start(settings)
        self.receive(sip("INVITE", "k: GRUU, Outbound"))
        self.assertEqual(self.channel.methods, ["INVITE"])
        # Others than INVITE are not hindered.
        self.receive(sip("OPTIONS", branch="z9hG4bKoptions"))
        self.assertEqual(self.channel.methods, ["INVITE", "OPTIONS"])


class BodyTests(FocusTestCase):
    def test_415_names_what_is_accepted(self) -> None:
        response = self.assertRefused(
            sip(body=b"x", content_type="application/pidf+xml"), 415, "application/sdp"
        )
        self.assertEqual(
            response.headers.get("Accept"),
            "application/sdp, multipart/mixed, multipart/alternative, multipart/related, "
            "application/resource-lists+xml, message/sipfrag",
        )
        self.assertNotIn("Accept-Encoding", response.headers)

    def test_415_names_the_encodings(self) -> None:
        response = self.assertRefused(
            sip("INVITE", "Content-Encoding: gzip", body=OFFER), 415, "gzip"
        )
        self.assertEqual(response.headers.get("Accept-Encoding"), "identity")

    def test_415_for_update_too(self) -> None:
        self.assertRefused(
            sip("UPDATE", to_tag="local.77", body=b"x", content_type="text/plain"), 415
        )

    def test_400_without_content_type(self) -> None:
        self.assertRefused(sip(body=OFFER, content_type=None), 400, "Content-Type")

    def test_what_is_read(self) -> None:
        for content_type in (
            "application/sdp",
            "Application/SDP;charset=utf-8",
            "multipart/mixed;boundary=b",
        ):
            with self.subTest(content_type):
                self.start()
                self.receive(sip("INVITE", "e: Identity", body=OFFER, content_type=content_type))
                self.assertEqual(self.channel.asked[0].body, OFFER)

    def test_what_need_not_be_read_is_not_read(self) -> None:
        for content_type, headers in (
            ("text/html", ("Content-Disposition: render;handling=Optional",)),
            (
                "application/sdp",
                ("Content-Encoding: gzip", "Content-Disposition: x;handling=optional"),
            ),
        ):
            with self.subTest(content_type):
                self.start()
                self.receive(sip("INVITE", *headers, body=b"x", content_type=content_type))
                [request] = self.channel.asked
                self.assertEqual(request.body, b"")
                self.assertIsNone(request.content_type)
                self.assertNotIn("Content-Encoding", request.headers)

    def test_400_for_a_disposition_that_is_none(self) -> None:
        self.assertRefused(
            sip("INVITE", "Content-Disposition: ;;;", body=b"x", content_type="text/html"),
            400,
            "Content-Disposition",
        )

    def test_what_nobody_looks_at_is_no_reason_to_stay(self) -> None:
        self.receive(
            sip(
                "BYE",
                "Content-Encoding: gzip",
                to_tag="local.77",
                body=b"x",
                content_type="application/isup",
            )
        )
        self.assertEqual(self.channel.methods, ["BYE"])

    def test_what_options_takes(self) -> None:
        for headers, taken in (
            ((), True),
            (("Accept: application/sdp",), True),
            (("Accept: text/plain, Application/SDP;level=1",), True),
            (("Accept: text/plain", "Accept: */*;q=0.1"), True),
            (("Accept: application/*",), True),
            (("Accept: text/plain",), False),
            (("Accept:",), False),
            (('Accept: a, "',), True),
        ):
            with self.subTest(headers):
                self.assertEqual(takes_sdp(sip("OPTIONS", *headers)), taken)


class LayerTests(FocusTestCase):
    """What the transaction layer refuses is logged by the focus."""

    def again(self, request: Request, flow: Flow = UDP) -> Response:
        self.receive(request, flow)
        return self.last()

    def test_482_for_what_has_come_by_another_way(self) -> None:
        self.receive(sip())
        response = self.assertRefused(sip(branch="z9hG4bKtwo"), 482, "by another way")
        self.assertEqual(self.channel.methods, ["INVITE"])
        self.assertIsNotNone(response.to.tag)

    def test_503_where_there_are_too_many(self) -> None:
        self.start(max_transactions=2)
        self.receive(sip(call_id="a", branch="z9hG4bKa"))
        self.receive(sip(call_id="b", branch="z9hG4bKb"))
        response = self.assertRefused(sip(call_id="c", branch="z9hG4bKc"), 503, "try again")
        self.assertEqual(response.headers.get("Retry-After"), "10")

    def test_a_flood_fills_no_log(self) -> None:
        self.start(max_transactions=1)
        for number in range(50):
            self.receive(sip(call_id=f"{number}", branch=f"z9hG4bK{number}"))
        self.assertEqual(self.wire.statuses, [503] * 49)
        self.assertEqual(len(self.refusals), 10)

    def test_who_it_was_is_who_the_proxy_says(self) -> None:
        asserted = "P-Asserted-Identity: <sip:mallory@example.com;x=y>"
        self.receive(sip("REGISTER", asserted))
        self.receive(sip("REGISTER", asserted, branch="z9hG4bKstranger"), STRANGER)
        said, forged = self.refusals
        self.assertIn("REGISTER of sip:mallory@example.com to", said)
        self.assertIn("REGISTER of sip:alice@example.com to", forged)

    def test_the_log_stays_text(self) -> None:
        # Octets that are no UTF-8, and an escape sequence, in what is logged.
        self.receive(sip("REGISTER", call_id="caf\udce9\x1b[2J\u202e".replace("\x1b", "\x9b")))
        [line] = self.refusals
        self.assertTrue(line.isprintable(), line)
        line.encode("utf-8")
