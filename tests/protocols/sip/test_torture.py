"""The 49 messages of RFC 4475: each gets the outcome that the RFC asks for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.errors import SipParseError, SipSyntaxError
from msrpconf.protocols.sip.message import Message, Request, Response, parse_message
from msrpconf.protocols.sip.stream import StreamParser
from msrpconf.protocols.sip.uri import OtherURI, SipURI, parse_uri
from tests.protocols.sip.archive import names, torture


class TortureCase(SynchronousTestCase):
    """Reads messages by their names in the RFC."""

    def request(self, name: str) -> Request:
        message = parse_message(torture(name))
        assert isinstance(message, Request)
        self.assert_survives(message)
        return message

    def response(self, name: str) -> Response:
        message = parse_message(torture(name))
        assert isinstance(message, Response)
        self.assert_survives(message)
        return message

    def assert_survives(self, message: Message) -> None:
        """What we write of it is read as the same again."""
        again = parse_message(bytes(message))
        self.assertEqual(bytes(again), bytes(message))
        self.assertEqual(again.body, message.body)
        self.assertEqual(again.vias, message.vias)
        self.assertEqual((again.from_, again.to), (message.from_, message.to))
        self.assertEqual(again.contacts, message.contacts)

    def rejected(self, name: str, status: int, *words: str) -> SipParseError:
        """The error of an invalid request, which must be answerable with `status`."""
        error: SipParseError = self.assertRaises(SipParseError, parse_message, torture(name))
        self.assertEqual(error.status, status)
        for word in words:
            self.assertIn(word, error.reason)
        self.assertIsNotNone(error.request)
        assert error.request is not None
        answer = error.request.response(error.status)
        self.assertTrue(bytes(answer).startswith(b"SIP/2.0 %d " % status))
        self.assertTrue(answer.top_via.host)
        return error


class ValidTests(TortureCase):
    """Section 3.1.1: messages that every parser must accept."""

    def test_wsinv(self) -> None:
        """3.1.1.1, a short tortuous INVITE."""
        request = self.request("wsinv")
        self.assertEqual(request.method, "INVITE")
        self.assertEqual(str(request.uri), "sip:vivekg@chair-dnrc.example.com;unknownparam")
        self.assertEqual(str(request.to), "<sip:vivekg@chair-dnrc.example.com>;tag=1918181833n")
        self.assertEqual(request.from_.display_name, 'J Rosenberg \\"')
        self.assertEqual(request.from_.tag, "98asjd8")
        self.assertEqual(request.max_forwards, 68)
        self.assertEqual(request.cseq.number, 9)
        self.assertEqual(request.headers.get("Subject"), "")
        self.assertEqual(
            [(via.transport, via.host, via.branch) for via in request.vias],
            [
                ("UDP", "192.0.2.2", "390skdjuw"),
                ("TCP", "spindle.example.com", "z9hG4bK9ikj8"),
                ("UDP", "192.168.255.111", "z9hG4bK30239"),
            ],
        )
        self.assertEqual(
            request.headers.get("NewFangledHeader"), "newfangled value continued newfangled value"
        )
        self.assertEqual(request.headers.get("unknownheaderwithunusualvalue"), ";;,,;;,;")
        self.assertEqual(
            [str(route) for route in request.routes],
            ["<sip:services.example.com;lr;unknownwith=value;unknown-no-value>"],
        )
        (contact,) = request.contacts
        self.assertEqual(contact.display_name, 'Quoted string ""')
        self.assertEqual(
            contact.parameters, (("newparam", "newvalue"), ("secondparam", None), ("q", "0.33"))
        )
        self.assertEqual(len(request.body), 150)

    def test_intmeth(self) -> None:
        """3.1.1.2, a wide range of valid characters."""
        request = self.request("intmeth")
        self.assertEqual(request.method, "!interesting-Method0123456789_*+`.%indeed'~")
        self.assertEqual(request.cseq.method, request.method)
        uri = request.uri
        assert isinstance(uri, SipURI)
        self.assertEqual(uri.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
        self.assertEqual(uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
        self.assertEqual(uri.host, "example.com")
        self.assertEqual(request.top_via.branch, "z9hG4bK-.!%66*_+`'~")
        self.assertEqual(request.to.display_name, "BEL:\a NUL:\0 DEL:\x7f")
        self.assertEqual(request.from_.display_name, "token1~` token2'+_ token3*%!.-")
        self.assertEqual(request.from_.parameter("fromParam''~+*_!.-%"), "работающий")
        self.assertEqual(request.from_.tag, "_token~1'+`*%!-.")
        self.assertEqual(request.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{")
        self.assertEqual(request.headers.get("extensionHeader-!.%*+_`'~"), "\ufeff大停電")

    def test_esc01(self) -> None:
        """3.1.1.3, escapes where they are escapes."""
        request = self.request("esc01")
        uri = request.uri
        assert isinstance(uri, SipURI)
        self.assertEqual((uri.user, uri.host), ("sips:user@example.com", "example.net"))
        self.assertTrue(request.to.uri.equivalent(parse_uri("sip:user@example.com")))
        self.assertEqual(request.to.uri.key, "sip:user@example.com")
        sender = request.from_.uri
        assert isinstance(sender, SipURI)
        self.assertEqual(sender.user, "I have spaces")
        contact = request.contacts[0].uri
        assert isinstance(contact, SipURI)
        self.assertEqual(contact.user, "caller")
        self.assertEqual(contact.parameters, (("lr", None), ("name", "value%41")))
        self.assertIn("sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31", str(contact))

    def test_escnull(self) -> None:
        """3.1.1.4, escaped nulls shorten no user name."""
        request = self.request("escnull")
        users = [contact.uri for contact in request.contacts]
        self.assertEqual([getattr(uri, "user", None) for uri in users], ["\0", "\0\0"])
        self.assertFalse(users[0].equivalent(users[1]))
        self.assertEqual(getattr(request.to.uri, "user", None), "null-\0-null")

    def test_esc02(self) -> None:
        """3.1.1.5, '%' where it is no escape."""
        request = self.request("esc02")
        self.assertEqual(request.method, "RE%47IST%45R")
        self.assertEqual(request.to.display_name, "%Z%45")
        self.assertEqual(
            [str(contact.uri) for contact in request.contacts],
            ["sip:alias1@host1.example.com", "sip:alias3@host3.example.com"],
        )
        self.assertEqual(request.headers.get("C%6Fntact"), "<sip:alias2@host2.example.com>")

    def test_lwsdisp(self) -> None:
        """3.1.1.6, no space between display name and bracket."""
        self.assertEqual(self.request("lwsdisp").from_.display_name, "caller")

    def test_longreq(self) -> None:
        """3.1.1.7, long values."""
        request = self.request("longreq")
        self.assertEqual(
            request.to.display_name, f"I have a user name of {'extreme' * 10} proportion"
        )
        self.assertEqual(len(request.vias), 34)
        self.assertEqual(request.vias[-1].branch, f"very{'long' * 50}branchvalue")
        self.assertEqual(request.from_.tag, f"12{'982' * 50}424")
        self.assertEqual(request.call_id, f"longreq.one{'really' * 20}longcallid")

    def test_dblreq(self) -> None:
        """3.1.1.8, octets after the body of a datagram are dropped."""
        request = self.request("dblreq")
        self.assertEqual((request.method, request.body), ("REGISTER", b""))
        self.assertNotIn(b"INVITE", bytes(request))

    def test_semiuri(self) -> None:
        """3.1.1.9, a semicolon in the user part."""
        uri = self.request("semiuri").uri
        assert isinstance(uri, SipURI)
        self.assertEqual(uri.user, "user;par=u@example.net")
        self.assertEqual((uri.host, uri.parameters), ("example.com", ()))

    def test_transports(self) -> None:
        """3.1.1.10, transports known and unknown."""
        self.assertEqual(
            [via.transport for via in self.request("transports").vias],
            ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"],
        )

    def test_mpart01(self) -> None:
        """3.1.1.11, a binary multipart body comes through octet by octet."""
        request = self.request("mpart01")
        self.assertEqual(len(request.body), 553)
        self.assertIn(b"\x00", request.body)
        content_type = request.content_type
        assert content_type is not None
        self.assertEqual(content_type.essence, "multipart/mixed")
        self.assertEqual(content_type.parameter("boundary"), "7a9cbec02ceef655")
        self.assertTrue(request.top_via.wants_rport)

    def test_unreason(self) -> None:
        """3.1.1.12, an unusual reason phrase."""
        response = self.response("unreason")
        self.assertEqual(response.status, 200)
        self.assertEqual(response.reason, "= 2**3 * 5**2 но сто девяносто девять - простое")

    def test_noreason(self) -> None:
        """3.1.1.13, an empty reason phrase."""
        response = self.response("noreason")
        self.assertEqual((response.status, response.reason), (100, ""))


class InvalidTests(TortureCase):
    """Section 3.1.2: messages that are wrong."""

    def test_badinv01(self) -> None:
        """3.1.2.1, separators too many; the answer finds its way all the same."""
        error = self.rejected("badinv01", 400, "Via")
        assert error.request is not None
        self.assertEqual(error.request.top_via.host, "192.0.2.15")

    def test_badinv01_contact(self) -> None:
        """3.1.2.1, the Contact alone is enough to refuse it."""
        data = torture("badinv01").replace(b"192.0.2.15;;,;,,", b"192.0.2.15")
        error = self.assertRaises(SipParseError, parse_message, data)
        self.assertIn("Contact", error.reason)

    def test_clerr_datagram(self) -> None:
        """3.1.2.2, less body than announced, in a datagram."""
        self.rejected("clerr", 400, "Content-Length", "9999")

    def test_clerr_stream(self) -> None:
        """3.1.2.2, less body than announced, on a stream: we wait."""
        parser = StreamParser()
        self.assertEqual(parser.receive_data(torture("clerr")), [])
        self.assertIsNone(parser.error)

    def test_ncl(self) -> None:
        """3.1.2.3, a negative Content-Length, and one that is no number."""
        self.rejected("ncl", 400, "Content-Length", "-999")
        for value in (b"five", b"", b"1_0", b"+5", "٣".encode()):
            data = torture("ncl").replace(b"-999", value)
            error = self.assertRaises(SipParseError, parse_message, data)
            self.assertIn("Content-Length", error.reason)
            self.assertTrue(StreamParser().receive_data(data)[0].fatal)  # type: ignore[union-attr]

    def test_scalar02(self) -> None:
        """3.1.2.4, numbers too large in a request."""
        self.rejected("scalar02", 400, "CSeq")

    def test_scalar02_expires(self) -> None:
        """3.1.2.4, an Expires too large is for those who need it."""
        data = torture("scalar02").replace(b"36893488147419103232", b"1")
        request = parse_message(data.replace(b"Max-Forwards: 300", b"Max-Forwards: 70"))
        with self.assertRaises(SipSyntaxError):
            _ = request.expires
        self.assertEqual(request.contacts[0].parameter("expires"), "280297596632815")

    def test_scalarlg(self) -> None:
        """3.1.2.5, numbers too large in a response, which is dropped."""
        error = self.assertRaises(SipParseError, parse_message, torture("scalarlg"))
        self.assertIn("CSeq", error.reason)
        self.assertIsNone(error.request)

    def test_quotbal(self) -> None:
        """3.1.2.6, a quote that never closes; the bad To goes back as it came."""
        error = self.rejected("quotbal", 400, "To")
        assert error.request is not None
        answer = error.request.response(400, to_tag="ours")
        self.assertEqual(answer.headers.get("To"), '"Mr. J. User <sip:j.user@example.com>')

    def test_ltgtruri(self) -> None:
        """3.1.2.7, a Request-URI in angle brackets."""
        self.rejected("ltgtruri", 400, "Request-URI", "<sip:user@example.com>")

    def test_lwsruri(self) -> None:
        """3.1.2.8, white space within the Request-URI."""
        self.rejected("lwsruri", 400, "Request-Line")

    def test_lwsstart(self) -> None:
        """3.1.2.9, spaces too many in the Request-Line are not passed on."""
        request = self.request("lwsstart")
        self.assertEqual((request.method, str(request.uri)), ("INVITE", "sip:user@example.com"))
        self.assertTrue(bytes(request).startswith(b"INVITE sip:user@example.com SIP/2.0\r\n"))

    def test_trws(self) -> None:
        """3.1.2.10, spaces after the Request-Line are not passed on."""
        request = self.request("trws")
        self.assertTrue(
            bytes(request).startswith(b"OPTIONS sip:remote-target@example.com SIP/2.0\r\n")
        )

    def test_escruri(self) -> None:
        """3.1.2.11, headers in the Request-URI."""
        self.rejected("escruri", 400, "Request-URI", "headers")

    def test_baddate(self) -> None:
        """3.1.2.12, a Date that is not in GMT harms only who asks for it."""
        request = self.request("baddate")
        with self.assertRaises(SipSyntaxError):
            _ = request.date

    def test_regbadct(self) -> None:
        """3.1.2.13, a URI with headers outside angle brackets."""
        self.rejected("regbadct", 400, "Contact")

    def test_badaspec(self) -> None:
        """3.1.2.14, spaces within an addr-spec."""
        self.rejected("badaspec", 400, "To")

    def test_baddn(self) -> None:
        """3.1.2.15, a display name with a comma and no quotes."""
        self.rejected("baddn", 400, "From")

    def test_badvers(self) -> None:
        """3.1.2.16, an unknown protocol version."""
        error = self.rejected("badvers", 505, "SIP/7.0")
        assert error.request is not None
        self.assertEqual(
            error.request.response(505).headers.get("Via"),
            "SIP/7.0/UDP c.example.com;branch=z9hG4bKkdjuw",
        )

    def test_mismatch01(self) -> None:
        """3.1.2.17, another method in CSeq."""
        self.rejected("mismatch01", 400, "CSeq", "OPTIONS", "INVITE")

    def test_mismatch02(self) -> None:
        """3.1.2.18, an unknown method and another one in CSeq."""
        self.rejected("mismatch02", 501, "CSeq")

    def test_bigcode(self) -> None:
        """3.1.2.19, a status out of range: the response is dropped."""
        error = self.assertRaises(SipParseError, parse_message, torture("bigcode"))
        self.assertIn("Status-Line", error.reason)
        self.assertIsNone(error.request)


class TransactionTests(TortureCase):
    """Section 3.2."""

    def test_badbranch(self) -> None:
        """3.2.1, the transaction layer sees that the identifier is empty."""
        self.assertEqual(self.request("badbranch").top_via.branch, "z9hG4bK")


class ApplicationTests(TortureCase):
    """Section 3.3: the application decides, the parser gives it what it needs."""

    def test_insuf(self) -> None:
        """3.3.1, no Call-ID, From or To."""
        error = self.rejected("insuf", 400, "From", "missing")
        assert error.request is not None
        self.assertEqual(error.request.cseq.number, 193942)

    def test_unkscm(self) -> None:
        """3.3.2, an unknown scheme, for a 416."""
        uri = self.request("unkscm").uri
        self.assertEqual(uri, OtherURI("nobodyKnowsThisScheme", "totallyopaquecontent"))

    def test_novelsc(self) -> None:
        """3.3.3, a known scheme that nobody uses in SIP."""
        uri = self.request("novelsc").uri
        self.assertEqual(uri, OtherURI("soap.beep", "//192.0.2.103:3002"))

    def test_unksm2(self) -> None:
        """3.3.4, other schemes in To, From and Contact."""
        request = self.request("unksm2")
        self.assertEqual(request.to.uri, OtherURI("isbn", "2983792873"))
        self.assertEqual(str(request.from_), "<http://www.example.com>;tag=3234233")
        self.assertEqual(request.contacts[0].uri, OtherURI("name", "John_Smith"))

    def test_bext01(self) -> None:
        """3.3.5, extensions that nobody supports, for a 420."""
        request = self.request("bext01")
        self.assertEqual(
            request.option_tags("Require"), ["nothingSupportsThis", "nothingSupportsThisEither"]
        )
        self.assertEqual(
            request.option_tags("Proxy-Require"),
            ["noProxiesSupportThis", "norDoAnyProxiesSupportThis"],
        )

    def test_invut(self) -> None:
        """3.3.6, an unknown Content-Type, for a 415."""
        request = self.request("invut")
        content_type = request.content_type
        assert content_type is not None
        self.assertEqual(content_type.essence, "application/unknownformat")
        self.assertEqual(len(request.body), 40)

    def test_regaut01(self) -> None:
        """3.3.7, an unknown authorization scheme."""
        self.assertEqual(
            self.request("regaut01").headers.get("Authorization"),
            "NoOneKnowsThisScheme opaque-data=here",
        )

    def test_multi01(self) -> None:
        """3.3.8, several values where one is due; the answer has one of each."""
        error = self.rejected("multi01", 400, "once")
        assert error.request is not None
        answer = error.request.response(400)
        for name in ("From", "To", "Call-ID", "CSeq"):
            self.assertEqual(len(answer.headers.get_all(name)), 1)

    def test_mcl01(self) -> None:
        """3.3.9, several Content-Length values; on a stream the connection is lost."""
        self.rejected("mcl01", 400, "Content-Length", "once")
        parser = StreamParser()
        parser.receive_data(torture("mcl01"))
        self.assertIsNotNone(parser.error)

    def test_bcast(self) -> None:
        """3.3.10, a second Via with a broadcast address, for the user agent to notice."""
        response = self.response("bcast")
        self.assertEqual([via.host for via in response.vias], ["192.0.2.198", "255.255.255.255"])

    def test_zeromf(self) -> None:
        """3.3.11, Max-Forwards of zero."""
        self.assertEqual(self.request("zeromf").max_forwards, 0)

    def test_cparam01(self) -> None:
        """3.3.12, a parameter of the Contact."""
        (contact,) = self.request("cparam01").contacts
        self.assertTrue(contact.has_parameter("unknownparam"))
        self.assertEqual(str(contact.uri), "sip:+19725552222@gw1.example.net")

    def test_cparam02(self) -> None:
        """3.3.13, a parameter of the URI in the Contact."""
        (contact,) = self.request("cparam02").contacts
        self.assertFalse(contact.has_parameter("unknownparam"))
        self.assertEqual(str(contact.uri), "sip:+19725552222@gw1.example.net;unknownparam")

    def test_regescrt(self) -> None:
        """3.3.14, a header in the Contact's URI is kept."""
        uri = self.request("regescrt").contacts[0].uri
        assert isinstance(uri, SipURI)
        self.assertEqual(uri.header("route"), "<sip:sip.example.com>")
        self.assertIn("?Route=%3Csip:sip.example.com%3E", str(uri))

    def test_sdp01(self) -> None:
        """3.3.15, an Accept that we cannot serve, for a 406."""
        self.assertEqual(self.request("sdp01").headers.get("Accept"), "text/nobodyKnowsThis")

    def test_inv2543(self) -> None:
        """3.4.1, an INVITE of RFC 2543: no branch, tag, length or Max-Forwards."""
        request = self.request("inv2543")
        self.assertIsNone(request.top_via.branch)
        self.assertIsNone(request.from_.tag)
        self.assertIsNone(request.max_forwards)
        self.assertIsNone(request.content_length)
        self.assertTrue(request.body.startswith(b"v=0\r\n"))
        self.assertTrue(request.to.has_parameter("user"))


class CompletenessTests(SynchronousTestCase):
    def test_every_message_has_a_test(self) -> None:
        tested = {
            name.removeprefix("test_").split("_")[0]
            for case in (ValidTests, InvalidTests, TransactionTests, ApplicationTests)
            for name in dir(case)
            if name.startswith("test_")
        }
        self.assertEqual(len(names()), 49)
        self.assertEqual(sorted(tested), names())
