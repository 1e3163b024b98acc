"""The focus between its clients and its server: what passes, what it adds, what it repeats."""

from __future__ import annotations

from attrs import evolve

from msrpconf.conference.control import CONFERENCE, FLOW, ConferenceControl
from msrpconf.conference.registry import ConferenceRegistry
from msrpconf.conference.settings import ServerSettings
from msrpconf.protocols.sip.errors import SipSyntaxError
from msrpconf.protocols.sip.flow import Address, Flow
from msrpconf.protocols.sip.headers import NameAddr
from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.uri import SipURI
from tests.conference.support import msrp_lines, sdp
from tests.services.support import (
    FROM_PROXY,
    HERE,
    OFFER,
    SETTINGS,
    TCP,
    UDP,
    FocusTestCase,
    room_of,
    sip,
)

VIA_PROXY = (
    "SIP/2.0/UDP 192.0.2.5;branch={branch}",
    "SIP/2.0/TCP 10.0.0.9:40123;branch=z9hG4bKclient",
)
RECORDED = (
    "Record-Route: <sip:192.0.2.5;r2=on;lr>, <sip:192.0.2.5;transport=tcp;r2=on;lr>",
    "Record-Route: <sip:edge.example.com;lr;x=y>",
)
SDP = (("Content-Type", "application/sdp"),)


class ToServerTests(FocusTestCase):
    def test_the_request_passes_as_it_came(self) -> None:
        received = self.receive(
            sip(
                "INVITE",
                "P-Asserted-Identity: <sip:alice@home.example>, <tel:+1555>",
                "Subject: lunch",
                "X-Whatever: kept",
                "Authorization: Digest secret",
                "Proxy-Authorization: Digest secret",
                *RECORDED,
                vias=VIA_PROXY,
                body=OFFER,
            ),
            FROM_PROXY,
        )
        [request] = self.channel.asked
        self.assertEqual((request.method, request.uri), ("INVITE", received.uri))
        self.assertEqual(request.body, OFFER)
        for name in ("From", "To", "Call-ID", "CSeq", "Contact", "Content-Type", "Subject"):
            self.assertEqual(request.headers.get(name), received.headers.get(name))
        for name in ("P-Asserted-Identity", "X-Whatever", "Record-Route"):
            self.assertEqual(request.headers.get_all(name), received.headers.get_all(name))
        for name in ("Via", "Max-Forwards", "Authorization", "Proxy-Authorization"):
            self.assertNotIn(name, request.headers)
        # What the client sent is as it was.
        self.assertIn("Via", received.headers)

    def test_what_only_we_may_say(self) -> None:
        forged = ("Flow: tcp/1.2.3.4:5/6.7.8.9:10/11", "flow: x", "Conference: sip:board@b")
        self.receive(sip("INVITE", *forged))
        self.receive(sip("OPTIONS", *forged, vias=VIA_PROXY, branch="z9hG4bK2"), FROM_PROXY)
        self.receive(sip("BYE", *forged, vias=VIA_PROXY, branch="z9hG4bK3", to_tag="t"), FROM_PROXY)
        self.receive(sip("ACK", *forged, branch="z9hG4bK4", to_tag="t"))
        invite, options, bye, ack = self.channel.asked
        self.assertEqual(invite.headers.get_all(FLOW), [str(UDP)])
        self.assertEqual(options.headers.get_all(FLOW), [])
        self.assertEqual(bye.headers.get_all(FLOW), [])
        self.assertEqual(ack.headers.get_all(FLOW), [])
        for request in (invite, options, bye):
            self.assertEqual(request.headers.get_all(CONFERENCE), ["sip:lobby@conf.example.com"])
        self.assertEqual(ack.headers.get_all(CONFERENCE), [])

    def test_cancel_has_no_headers_of_ours_that_a_client_wrote(self) -> None:
        self.receive(sip())
        self.receive(sip("CANCEL", "Flow: x", "Conference: sip:board@b"))
        cancel = self.channel.asked[1]
        self.assertNotIn(FLOW, cancel.headers)
        self.assertNotIn(CONFERENCE, cancel.headers)

    def test_the_way_back_is_told_where_it_is_the_clients_own(self) -> None:
        default_port = evolve(UDP, remote=("192.0.2.9", 5060))
        for via, flow, told in (
            # UDP: where the client takes its responses is where it sends from.
            ("SIP/2.0/UDP 192.0.2.9:5070;branch={branch}", UDP, True),
            ("SIP/2.0/UDP 10.1.1.1:999;rport;branch={branch}", UDP, True),
            ("SIP/2.0/UDP 192.0.2.9:5060;branch={branch}", UDP, False),
            ("SIP/2.0/UDP 192.0.2.9;branch={branch}", UDP, False),
            ("SIP/2.0/UDP 192.0.2.9;branch={branch}", default_port, True),
            # TCP: its connection.
            ("SIP/2.0/TCP 10.1.1.1:5060;branch={branch}", TCP, True),
        ):
            with self.subTest(via):
                self.start()
                self.receive(sip(vias=(via,)), flow)
                expected = str(flow) if told else None
                self.assertEqual(self.channel.asked[0].headers.get(FLOW), expected)

    def test_in_a_dialog_nothing_is_called_unknown(self) -> None:
        """The tags say whom a request is for; the server says whether it knows them."""
        self.start(evolve(SETTINGS, domains=("conf.example.com",)))
        for number, (method, uri) in enumerate(
            (
                ("BYE", "sip:lobby@192.0.2.1:5060"),
                ("INVITE", "sip:192.0.2.1"),
                ("UPDATE", "sip:gone@example.org"),
                ("OPTIONS", "tel:+1555"),
            )
        ):
            with self.subTest(method):
                self.receive(
                    sip(method, uri=uri, to_tag=f"local.{number}", branch=f"z9hG4bK{number}")
                )
                self.assertEqual(self.channel.asked[-1].method, method)
                self.assertEqual(str(self.channel.asked[-1].uri), uri)
        self.channel.answer(481, "No such dialog here", method="BYE")
        self.assertEqual((self.last().status, self.last().reason), (481, "No such dialog here"))

    def test_in_a_dialog_the_room_is_named_where_the_uri_names_it(self) -> None:
        uri = "sip:lobby@192.0.2.1:5060;room-domain=conf.example.com"
        self.receive(sip("OPTIONS", uri=uri, to_tag="local.77"))
        self.assertEqual(room_of(self.channel.asked[0]), "sip:lobby@conf.example.com")


class AnswerTests(FocusTestCase):
    def test_200_has_what_the_client_sent_and_the_servers_tag(self) -> None:
        received = self.receive(sip("INVITE", to='"The Lobby" <sip:lobby@conf.example.com>;x=y'))
        self.channel.answer(200, headers=SDP, body=b"v=0\r\no=we\r\n", to_tag="local.77")
        [response] = self.wire.responses
        self.assertEqual((response.status, response.reason), (200, "OK"))
        for name in ("Via", "From", "Call-ID", "CSeq"):
            self.assertEqual(response.headers.get_all(name), received.headers.get_all(name))
        self.assertEqual(
            response.headers.get_all("To"),
            ['"The Lobby" <sip:lobby@conf.example.com>;x=y;tag=local.77'],
        )
        self.assertEqual(response.headers.get_all("Content-Type"), ["application/sdp"])
        self.assertEqual(response.body, b"v=0\r\no=we\r\n")
        self.assertEqual(
            response.headers.get("Allow"),
            "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, REFER, NOTIFY",
        )
        self.assertEqual(
            response.option_tags("Supported"),
            ["recipient-list-invite", "multiple-refer", "norefersub", "tdialog", "timer"],
        )
        self.assertEqual(len(response.headers.get_all("Content-Length")), 0)
        self.assertEqual(bytes(response).count(b"Content-Length: 11\r\n"), 1)

    def test_what_the_server_refuses_passes(self) -> None:
        warning = '399 local "a=accept-types needs message/cpim or text/plain"'
        self.receive(sip())
        self.channel.answer(488, "a=accept-types needs …", headers=(("Warning", warning),))
        response = self.last()
        self.assertEqual((response.status, response.reason), (488, "a=accept-types needs …"))
        self.assertEqual(response.headers.get_all("Warning"), [warning])
        self.assertEqual(response.to.tag, "local.77")
        self.assertNotIn("Contact", response.headers)
        # It is the transaction's to repeat, and its ACK is the transaction's too.
        self.seconds(0.5)
        self.assertEqual(self.wire.statuses, [488, 488])
        self.receive(sip("ACK", to_tag="local.77"))
        self.seconds(10)
        self.assertEqual(self.wire.statuses, [488, 488])
        self.assertEqual(self.channel.methods, ["INVITE"])

    def test_each_refusal_of_the_server_passes_with_its_headers(self) -> None:
        for status, header in (
            (404, ("X-Why", "no ad-hoc rooms")),
            (486, ("Retry-After", "60")),
            (491, ("X-Why", "an offer of ours is open")),
            (500, ("Retry-After", "4")),
            (503, ("Retry-After", "60")),
        ):
            with self.subTest(status):
                self.start()
                self.receive(sip(to_tag="t" if status in {491, 500} else None))
                self.channel.answer(status, "because", headers=(header,))
                self.assertEqual((self.last().status, self.last().reason), (status, "because"))
                self.assertEqual(self.last().headers.get(header[0]), header[1])

    def test_100_where_the_server_takes_its_time(self) -> None:
        self.receive(sip())
        self.seconds(0.25)
        self.assertEqual(self.wire.statuses, [100])
        self.receive(sip())
        self.assertEqual(self.wire.statuses, [100, 100])
        self.channel.answer()
        self.assertEqual(self.wire.statuses, [100, 100, 200])
        self.assertEqual(self.channel.methods, ["INVITE"])

    def test_an_invite_again_is_one_invite(self) -> None:
        self.receive(sip())
        self.receive(sip())
        self.channel.answer()
        self.receive(sip())
        self.assertEqual(self.channel.methods, ["INVITE"])
        # The repetition of the 200 has a clock of its own (RFC 6026 §7.1).
        self.assertEqual(self.wire.statuses, [200])

    def test_options(self) -> None:
        self.receive(sip("OPTIONS", contact=None))
        self.assertEqual(room_of(self.channel.asked[0]), "sip:lobby@conf.example.com")
        self.channel.answer(200, headers=SDP, body=b"v=0\r\n")
        response = self.last()
        self.assertEqual(response.status, 200)
        self.assertTrue(response.contacts[0].has_parameter("isfocus"))
        for name, value in (
            ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, REFER, NOTIFY"),
            (
                "Accept",
                "application/sdp, multipart/mixed, multipart/alternative, multipart/related, "
                "application/resource-lists+xml, message/sipfrag",
            ),
            ("Accept-Encoding", "identity"),
            ("Accept-Language", "en"),
            ("Supported", "recipient-list-invite, multiple-refer, norefersub, tdialog, timer"),
            ("Allow-Events", "refer"),
            ("Content-Type", "application/sdp"),
        ):
            self.assertEqual(response.headers.get_all(name), [value])
        self.assertEqual(response.body, b"v=0\r\n")
        self.seconds(40)
        self.assertEqual(self.wire.statuses, [200])

    def test_options_of_who_takes_no_sdp(self) -> None:
        self.receive(sip("OPTIONS", "Accept: text/plain"))
        self.channel.answer(200, headers=SDP, body=b"v=0\r\n")
        self.assertEqual((self.last().status, self.last().body), (200, b""))
        self.assertNotIn("Content-Type", self.last().headers)

    def test_update_and_bye(self) -> None:
        self.receive(sip("UPDATE", to_tag="local.77", body=OFFER))
        self.channel.answer(200, headers=SDP, body=b"v=0\r\n")
        self.assertEqual(self.last().contacts[0].uri, sip().uri)
        self.assertEqual(self.last().to.tag, "local.77")
        self.receive(sip("BYE", to_tag="local.77", cseq=2, branch="z9hG4bKbye"))
        self.channel.answer(200)
        self.assertEqual(self.last().cseq.method, "BYE")
        self.assertNotIn("Contact", self.last().headers)
        self.seconds(40)
        self.assertEqual(self.wire.statuses, [200, 200])


class ContactTests(FocusTestCase):
    FEATURES = (
        ';methods="INVITE,ACK,BYE,CANCEL,OPTIONS,UPDATE,REFER,NOTIFY";automata;isfocus;message'
    )

    def contact(self, form: str, request: Request, flow: Flow) -> str | None:
        self.start(evolve(SETTINGS, contact=form))
        self.receive(request, flow)
        self.channel.answer()
        return self.last().headers.get("Contact")

    def test_forms(self) -> None:
        room = "sip:lobby@conf.example.com"
        udp = "sip:lobby@192.0.2.1:5060;room-domain=conf.example.com"
        tcp = "sip:lobby@192.0.2.1:5060;transport=tcp;room-domain=conf.example.com"
        direct = sip()
        over_tcp = sip(vias=("SIP/2.0/TCP 192.0.2.9:5070;branch=z9hG4bKtcp",))
        recorded = sip("INVITE", *RECORDED, vias=VIA_PROXY)
        unrecorded = sip(vias=VIA_PROXY)
        for form, request, flow, expected in (
            ("auto", direct, UDP, udp),
            ("auto", over_tcp, TCP, tcp),
            ("auto", recorded, FROM_PROXY, room),
            ("auto", unrecorded, FROM_PROXY, udp),
            ("conference", direct, UDP, room),
            ("conference", over_tcp, TCP, room),
            ("conference", recorded, FROM_PROXY, room),
            ("address", direct, UDP, udp),
            ("address", over_tcp, TCP, tcp),
            ("address", recorded, FROM_PROXY, udp),
        ):
            with self.subTest(form=form, expected=expected):
                self.assertEqual(
                    self.contact(form, request.copy(), flow), f"<{expected}>{self.FEATURES}"
                )

    def test_no_domain_where_our_address_says_it(self) -> None:
        request = sip(uri="sip:lobby@192.0.2.1")
        self.assertEqual(
            self.contact("auto", request, UDP), f"<sip:lobby@192.0.2.1:5060>{self.FEATURES}"
        )

    def test_ipv6(self) -> None:
        self.start(SETTINGS)
        self.focus.local_address = lambda flow: Address("tcp", "2001:db8::1", 5060)
        self.receive(sip(uri="sip:lobby@[2001:db8::1]:5060;transport=tcp"))
        self.channel.answer()
        self.assertEqual(
            self.last().headers.get("Contact"),
            f"<sip:lobby@[2001:db8::1]:5060;transport=tcp>{self.FEATURES}",
        )

    def test_features(self) -> None:
        """RFC 7701 §9.1: they are the Contact's and not the URI's."""
        contact = self.contact("auto", sip(), UDP)
        assert contact is not None
        parsed = NameAddr.parse(contact)
        for name in ("isfocus", "automata", "message"):
            self.assertTrue(parsed.has_parameter(name))
        self.assertEqual(
            parsed.parameter("methods"), "INVITE,ACK,BYE,CANCEL,OPTIONS,UPDATE,REFER,NOTIFY"
        )

    def test_what_comes_back_is_the_same_room(self) -> None:
        for form in ("auto", "conference", "address"):
            for name in ("lobby", "caf%C3%A9", "a%40b", "a%2Bb", "100%25", "a;b?c"):
                with self.subTest(form=form, name=name):
                    contact = self.contact(form, sip(uri=f"sip:{name}@conf.example.com"), UDP)
                    assert contact is not None
                    first = room_of(self.channel.asked[0])
                    target = NameAddr.parse(contact).uri
                    self.receive(sip(uri=str(target), call_id="other", branch="z9hG4bKother"))
                    self.assertEqual(room_of(self.channel.asked[1]), first)

    def test_in_a_dialog_it_is_what_the_client_uses(self) -> None:
        uri = "sip:lobby@192.0.2.1:5060;room-domain=conf.example.com"
        for form in ("auto", "conference", "address"):
            request = sip(uri=uri, to_tag="local.77")
            self.assertEqual(self.contact(form, request, UDP), f"<{uri}>{self.FEATURES}")

    def test_record_route_is_copied_in_order(self) -> None:
        received = self.receive(sip("INVITE", *RECORDED, vias=VIA_PROXY), FROM_PROXY)
        self.channel.answer()
        self.assertEqual(
            self.last().headers.get_all("Record-Route"),
            received.headers.get_all("Record-Route"),
        )
        self.receive(sip("OPTIONS", *RECORDED, branch="z9hG4bKoptions"), UDP)
        self.channel.answer()
        self.assertEqual(self.last().headers.get_all("Record-Route"), [])


class RepetitionTests(FocusTestCase):
    """The 2xx to INVITE until its ACK (RFC 3261 §13.3.1.4)."""

    def times(self, seconds: float) -> list[float]:
        """When responses are sent within the next seconds, counted from now."""
        start = self.clock.seconds()
        times = []
        for _ in range(round(seconds * 8)):
            before = len(self.wire.responses)
            self.clock.advance(0.125)
            times += [self.clock.seconds() - start] * (len(self.wire.responses) - before)
        return times

    def test_t1_doubled_up_to_t2_at_most_64_t1(self) -> None:
        for flow in (UDP, TCP):
            with self.subTest(flow.transport):
                self.start()
                self.receive(sip(), flow)
                self.channel.answer()
                self.assertEqual(
                    self.times(120), [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
                )
                first, *others = {bytes(response) for response in self.wire.responses}
                self.assertEqual(others, [])
                self.assertIn(b"SIP/2.0 200 OK", first)
                # Nothing is left to be done, or kept.
                self.assertEqual(self.layer.server_transactions, 0)
                self.assertEqual(self.clock.getDelayedCalls(), [])

    def ack(self, **changes: object) -> Request:
        return sip("ACK", branch="z9hG4bKack", to_tag="local.77", **changes)  # type: ignore[arg-type]

    def test_until_the_ack(self) -> None:
        for flow in (UDP, TCP):
            with self.subTest(flow.transport):
                self.start()
                self.receive(sip(), flow)
                self.channel.answer()
                self.seconds(2)
                self.receive(self.ack(), flow)
                self.assertEqual(self.channel.methods, ["INVITE", "ACK"])
                self.assertEqual(self.times(60), [])

    def test_not_by_the_ack_of_another(self) -> None:
        self.receive(sip())
        self.channel.answer()
        for other in (
            self.ack(call_id="call-2"),
            self.ack(from_tag="a2"),
            self.ack(cseq=2),
            sip("ACK", branch="z9hG4bKack", to_tag="local.78"),
        ):
            self.receive(other)
        self.assertEqual(self.times(2), [0.5, 1.5])

    def test_each_ack_reaches_the_server(self) -> None:
        """Also one that a focus before us, now gone, had to wait for."""
        self.receive(self.ack(body=OFFER))
        self.receive(self.ack(body=OFFER))
        self.assertEqual(self.channel.methods, ["ACK", "ACK"])
        self.assertEqual(self.channel.asked[0].body, OFFER)

    def test_an_ack_that_cannot_be_passed_on_is_logged(self) -> None:
        self.channel.close()
        self.receive(self.ack())
        self.assertIn("ACK could not be passed on: the channel is closed", self.lines[-1])
        self.assertEqual(self.failures, [])

    def test_not_after_a_bye_of_the_servers(self) -> None:
        self.receive(sip())
        self.receive(sip(call_id="call-2", branch="z9hG4bKtwo"))
        self.channel.answer()
        self.channel.answer()
        self.focus.handle(
            sip("BYE", from_tag="local.77", to_tag="a1", uri="sip:alice@192.0.2.9:5070")
        )
        again = {response.call_id for response in self.after(2)}
        self.assertEqual(again, {"call-2"})

    def after(self, seconds: float) -> list[Response]:
        before = len(self.wire.responses)
        self.seconds(seconds)
        return self.wire.responses[before:]

    def test_not_after_a_bye_of_the_clients(self) -> None:
        for status in (200, 481):
            with self.subTest(status):
                self.start()
                self.receive(sip())
                self.channel.answer()
                self.receive(sip("BYE", to_tag="local.77", cseq=2, branch="z9hG4bKbye"))
                self.channel.answer(status)
                self.assertEqual(self.after(60), [])

    def test_still_after_a_bye_that_is_refused(self) -> None:
        self.receive(sip(cseq=5))
        self.channel.answer()
        self.receive(sip("BYE", to_tag="local.77", cseq=2, branch="z9hG4bKbye"))
        self.channel.answer(500)
        self.assertEqual([response.status for response in self.after(1)], [200])

    def test_two_of_one_dialog(self) -> None:
        """The ACK for the first was lost; the client goes on with a second INVITE."""
        self.receive(sip())
        self.channel.answer()
        self.receive(sip(to_tag="local.77", cseq=2, branch="z9hG4bKtwo"))
        self.channel.answer()
        self.assertEqual([each.cseq.number for each in self.after(0.5)], [1, 2])
        self.receive(self.ack(cseq=2))
        self.assertEqual([each.cseq.number for each in self.after(1)], [1])
        self.receive(self.ack(cseq=1))
        self.assertEqual(self.after(60), [])

    def test_nothing_after_the_end(self) -> None:
        self.receive(sip())
        self.channel.answer()
        self.focus.stop()
        self.assertEqual(self.after(60), [])


class CancelTests(FocusTestCase):
    def test_before_the_server_has_answered(self) -> None:
        self.receive(sip())
        self.receive(sip("CANCEL"))
        to_cancel, to_invite = self.wire.responses
        self.assertEqual((to_cancel.status, to_cancel.cseq.method), (200, "CANCEL"))
        self.assertEqual((to_invite.status, to_invite.cseq.method), (487, "INVITE"))
        self.assertEqual(to_cancel.to.tag, to_invite.to.tag)
        self.assertEqual(self.channel.methods, ["INVITE", "CANCEL"])
        self.assertEqual(len(self.refusals), 1)
        self.assertIn("INVITE of sip:alice@example.com to sip:lobby@conf", self.refusals[0])
        self.assertIn("487 cancelled by the caller", self.refusals[0])

    def test_a_200_that_comes_after_it(self) -> None:
        self.receive(sip())
        self.receive(sip("CANCEL"))
        self.channel.answer(200, headers=SDP, body=b"v=0\r\n", method="INVITE")
        self.channel.answer(200, method="CANCEL")
        self.receive(sip("ACK", to_tag=self.last().to.tag))
        self.seconds(40)
        self.assertEqual(self.wire.statuses, [200, 487])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.channel.methods, ["INVITE", "CANCEL"])
        self.assertEqual(self.failures, [])

    def test_after_the_200(self) -> None:
        self.receive(sip())
        self.channel.answer(200)
        self.receive(sip("CANCEL"))
        self.assertEqual(self.wire.statuses, [200, 200])
        self.assertEqual(self.last().cseq.method, "CANCEL")
        self.assertEqual(self.last().to.tag, "local.77")
        self.assertEqual(self.channel.methods, ["INVITE"])
        self.assertEqual(self.refusals, [])
        # The 200 is repeated all the same: the call is there.
        self.seconds(0.5)
        self.assertEqual(self.last().cseq.method, "INVITE")

    def test_after_a_refusal(self) -> None:
        self.receive(sip())
        self.channel.answer(486)
        self.receive(sip("CANCEL"))
        self.assertEqual(self.wire.statuses, [486, 200])
        self.assertEqual(self.channel.methods, ["INVITE"])

    def test_twice(self) -> None:
        self.receive(sip())
        self.receive(sip("CANCEL"))
        self.receive(sip("CANCEL"))
        self.assertEqual(self.wire.statuses, [200, 487, 200])
        self.assertEqual(self.channel.methods, ["INVITE", "CANCEL"])

    def test_what_is_no_invite_goes_on(self) -> None:
        self.receive(sip("OPTIONS"))
        self.receive(sip("CANCEL"))
        self.assertEqual(self.wire.statuses, [200])
        self.channel.answer(200, method="OPTIONS")
        self.assertEqual(self.wire.statuses, [200, 200])

    def test_over_a_closed_channel(self) -> None:
        self.receive(sip())
        self.channel.error = RuntimeError("broken")
        self.receive(sip("CANCEL"))
        self.assertEqual(self.wire.statuses, [200, 487])
        self.assertIn("CANCEL could not be passed on: broken", self.lines[-1])


class PendingTests(FocusTestCase):
    """A second offer before the first is answered (RFC 3261 §14.2, RFC 3311 §5.2)."""

    def renegotiate(self, method: str, cseq: int) -> Request:
        return sip(method, to_tag="local.77", cseq=cseq, branch=f"z9hG4bK{cseq}", body=OFFER)

    def test_500_with_a_random_time(self) -> None:
        for first in ("INVITE", "UPDATE"):
            for second in ("INVITE", "UPDATE"):
                with self.subTest(first=first, second=second):
                    self.start()
                    self.receive(self.renegotiate(first, 2))
                    times = set()
                    for cseq in range(3, 103):
                        response = self.assertRefused(
                            self.renegotiate(second, cseq), 500, f"{first} of this dialog"
                        )
                        times.add(int(response.headers.get("Retry-After") or "-1"))
                    self.assertLessEqual(times, set(range(11)))
                    self.assertGreater(len(times), 3)

    def test_not_once_it_is_answered(self) -> None:
        for status in (200, 488):
            with self.subTest(status):
                self.start()
                self.receive(self.renegotiate("INVITE", 2))
                self.channel.answer(status)
                self.receive(self.renegotiate("INVITE", 3))
                self.assertEqual(self.channel.methods, ["INVITE", "INVITE"])

    def test_not_once_it_is_cancelled(self) -> None:
        self.receive(self.renegotiate("INVITE", 2))
        self.receive(sip("CANCEL", to_tag="local.77", cseq=2, branch="z9hG4bK2"))
        self.receive(self.renegotiate("INVITE", 3))
        self.assertEqual(self.channel.methods, ["INVITE", "CANCEL", "INVITE"])
        # The late answer to the first is not taken for that to the second.
        self.channel.answer(200, method="INVITE")
        self.assertRefused(self.renegotiate("INVITE", 4), 500)

    def test_not_by_other_requests(self) -> None:
        self.receive(self.renegotiate("INVITE", 2))
        self.receive(self.renegotiate("OPTIONS", 3))
        self.channel.answer(method="OPTIONS")
        self.assertRefused(self.renegotiate("INVITE", 4), 500)

    def test_not_in_other_dialogs(self) -> None:
        self.receive(self.renegotiate("INVITE", 2))
        self.receive(sip(to_tag="local.78", branch="z9hG4bKx"))
        self.receive(sip(to_tag="local.77", from_tag="a2", branch="z9hG4bKy"))
        self.receive(sip(to_tag="local.77", call_id="call-2", branch="z9hG4bKz"))
        self.assertEqual(self.channel.methods, ["INVITE"] * 4)

    def test_not_where_the_channel_breaks(self) -> None:
        self.receive(self.renegotiate("INVITE", 2))
        self.channel.close()
        self.assertEqual(self.wire.statuses, [503])
        self.channel.error = None
        self.receive(self.renegotiate("INVITE", 3))
        self.assertEqual(self.channel.methods, ["INVITE", "INVITE"])


class UnavailableTests(FocusTestCase):
    """503 with Retry-After: closing, or no server behind the channel."""

    def assertUnavailable(self) -> None:
        response = self.last()
        self.assertEqual(response.status, 503)
        self.assertEqual(response.headers.get("Retry-After"), "10")
        self.assertEqual(len(self.refusals), 1)
        self.assertIn(f": 503 {response.reason} (Call-ID call-1)", self.refusals[0])

    def test_closing_refuses_what_begins(self) -> None:
        for method in ("INVITE", "OPTIONS"):
            self.start()
            self.focus.closing = True
            response = self.assertRefused(sip(method), 503, "shutting down")
            self.assertEqual(response.headers.get("Retry-After"), "10")

    def test_closing_ends_what_has_begun_in_order(self) -> None:
        self.joined()
        self.receive(sip(call_id="call-2", branch="z9hG4bKpending"))
        self.focus.closing = True
        self.receive(sip("BYE", to_tag="local.77", cseq=2, branch="z9hG4bKbye"))
        self.channel.answer(method="BYE")
        self.assertEqual((self.last().status, self.last().cseq.method), (200, "BYE"))
        self.receive(sip("CANCEL", call_id="call-2", branch="z9hG4bKpending"))
        self.assertEqual(self.wire.statuses[-2:], [200, 487])

    def test_no_channel(self) -> None:
        self.focus.channel = None
        self.receive(sip())
        self.assertUnavailable()
        self.assertEqual(self.failures, [])

    def test_the_channel_is_closed(self) -> None:
        self.channel.close()
        self.receive(sip())
        self.assertUnavailable()
        self.assertEqual(self.failures, [])

    def test_the_channel_closes(self) -> None:
        for method in ("INVITE", "OPTIONS"):
            with self.subTest(method):
                self.start()
                self.lines.clear()
                self.receive(sip(method))
                self.channel.close()
                self.assertUnavailable()
                self.assertEqual(self.failures, [])

    def test_the_channel_breaks_after_a_cancel(self) -> None:
        self.receive(sip())
        self.receive(sip("CANCEL"))
        self.channel.close()
        self.assertEqual(self.wire.statuses, [200, 487])

    def test_the_channel_fails_in_a_way_nobody_thought_of(self) -> None:
        self.channel.error = RuntimeError("no such thing")
        self.receive(sip())
        self.assertUnavailable()
        [failure] = self.failures
        self.assertIn("cannot be used", failure["log_format"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_answer_that_is_none(self) -> None:
        self.receive(sip())
        _, answer = self.channel.waiting.pop()
        answer.callback(Response(200, "OK"))
        self.assertUnavailable()
        self.assertEqual(len(self.flushLoggedErrors(SipSyntaxError)), 1)

    def test_the_server_fails(self) -> None:
        self.receive(sip())
        self.channel.answer(500, to_tag=None)
        self.assertEqual(self.last().status, 500)
        self.assertIsNotNone(self.last().to.tag)

    def test_the_server_never_answers(self) -> None:
        self.receive(sip(cseq=7))
        self.receive(sip("OPTIONS", branch="z9hG4bKoptions"))
        self.seconds(29.5)
        self.assertEqual(self.wire.statuses, [100, 100])
        self.seconds(0.5)
        self.assertEqual(self.wire.statuses[2:], [504, 504])
        self.assertEqual(
            [line.partition(": 504 ")[2] for line in self.refusals],
            ["The conference server has not answered for 30 s: try again (Call-ID call-1)"] * 2,
        )
        # Should it let the client in all the same, it is to send it out again.
        self.assertEqual(self.channel.methods, ["INVITE", "OPTIONS", "CANCEL"])
        cancel = self.channel.asked[-1]
        self.assertEqual((cancel.cseq.number, cancel.call_id), (7, "call-1"))
        self.assertEqual((cancel.from_.tag, cancel.to.tag), ("a1", None))
        self.assertNotIn("Via", cancel.headers)
        # What it says then is not for the client.
        statuses = len(self.wire.statuses)
        self.channel.answer(200, method="INVITE")
        self.channel.answer(200, method="OPTIONS")
        self.channel.answer(200, method="CANCEL")
        self.seconds(40)
        self.assertEqual(set(self.wire.statuses[statuses:]), {504})
        self.assertEqual(self.failures, [])

    def test_whom_the_server_lets_in_too_late_it_sends_out_again(self) -> None:
        offer = sdp(*msrp_lines())
        registry = ConferenceRegistry(self.clock)
        settings = ServerSettings("local", "192.0.2.1", 2855)
        control = ConferenceControl(registry, self.clock, settings, lambda session, uri: None)
        self.receive(sip(body=offer))
        self.seconds(30)
        invite, cancel = self.channel.asked
        self.assertEqual(control.handle(invite).status, 200)
        self.assertEqual(len(registry.rooms), 1)
        self.assertEqual(control.handle(cancel).status, 200)
        self.assertEqual(registry.rooms, {})

    def test_an_answer_in_time_stops_the_clock(self) -> None:
        self.joined()
        self.seconds(40)
        self.assertEqual(self.refusals, [])
        self.assertEqual(self.channel.methods, ["INVITE", "ACK"])

    def test_what_was_cancelled_is_not_taken_back_again(self) -> None:
        self.receive(sip())
        self.receive(sip("CANCEL"))
        self.seconds(31)
        self.assertEqual(self.channel.methods, ["INVITE", "CANCEL"])
        self.assertEqual({*self.wire.statuses}, {200, 487})
        self.assertIn(
            "CANCEL could not be passed on: the server has not answered for 30 s (Call-ID call-1)",
            self.lines,
        )


class FromServerTests(FocusTestCase):
    """What the server wants sent; the ways are in test_requests."""

    def bye(self, *headers: str) -> Request:
        request = sip(
            "BYE",
            *headers,
            uri="sip:alice@192.0.2.9:5070",
            from_tag="local.77",
            to="<sip:alice@example.com>",
            to_tag="a1",
            contact=None,
        )
        request.headers.remove("Via")
        request.headers.remove("Max-Forwards")
        return request

    def test_it_gets_what_belongs_to_the_hop(self) -> None:
        self.live.add(UDP)
        done = self.focus.handle(self.bye(f"Flow: {UDP}", 'Reason: SIP;cause=503;text="bye"'))
        [(request, target, flow)] = self.wire.requests
        self.assertEqual((target, flow), (UDP.peer, UDP))
        self.assertEqual(request.top_via.host, HERE[0])
        self.assertEqual(request.max_forwards, 70)
        self.assertNotIn("Flow", request.headers)
        self.assertEqual(request.headers.get("Reason"), 'SIP;cause=503;text="bye"')
        self.assertNoResult(done)
        self.layer.receive(request.response(200), UDP)
        self.assertEqual(self.successResultOf(done).status, 200)

    def test_a_refresh_of_the_session(self) -> None:
        """With the URI that the client knows already, and what we are and can."""
        self.live.add(UDP)
        update = self.bye(f"Flow: {UDP}", "Contact: <sip:lobby@192.0.2.1:5060>")
        update.method = "UPDATE"
        update.headers.set("CSeq", "1 UPDATE")
        self.focus.handle(update)
        [(request, _, _)] = self.wire.requests
        (contact,) = request.contacts
        self.assertEqual(str(contact.uri), "sip:lobby@192.0.2.1:5060")
        self.assertTrue(contact.has_parameter("isfocus"))
        self.assertIn("timer", request.headers.get("Supported") or "")
        self.assertIn("UPDATE", request.headers.get("Allow") or "")

    def test_a_flow_that_is_none(self) -> None:
        self.places["sip:alice@192.0.2.9:5070"] = [Address("udp", "192.0.2.9", 5070)]
        self.focus.handle(self.bye("Flow: nonsense"))
        self.assertEqual(len(self.wire.requests), 1)
        self.assertTrue(any("a flow that is none: nonsense" in line for line in self.lines))

    def test_where_there_is_a_route_the_flow_does_not_matter(self) -> None:
        self.live.add(FROM_PROXY)
        self.places["sip:192.0.2.5;lr"] = [Address("udp", "192.0.2.5", 5060)]
        self.focus.handle(self.bye(f"Flow: {UDP}", "Route: <sip:192.0.2.5;lr>"))
        [(request, target, flow)] = self.wire.requests
        self.assertEqual((target, flow), (Address("udp", "192.0.2.5", 5060), None))
        self.assertIsInstance(request.uri, SipURI)
        self.assertNotIn("Flow", request.headers)
