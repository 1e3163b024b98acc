"""Header values: what they read and what they write."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.headers import CSeq, NameAddr, Via


class NameAddrTests(SynchronousTestCase):
    def test_display_name_uri_and_parameters(self) -> None:
        value = NameAddr.parse('"Alice \\"A\\"" <sip:alice@example.com;lr>;tag=9')
        self.assertEqual(value.display_name, 'Alice "A"')
        self.assertEqual(str(value.uri), "sip:alice@example.com;lr")
        self.assertEqual(value.tag, "9")
        self.assertEqual(str(value), '"Alice \\"A\\"" <sip:alice@example.com;lr>;tag=9')

    def test_parameters_outside_brackets_belong_to_the_header(self) -> None:
        value = NameAddr.parse("<sip:bob@example.com>;method=BYE")
        self.assertEqual(value.parameter("method"), "BYE")
        self.assertEqual(str(value.uri), "sip:bob@example.com")


class ViaTests(SynchronousTestCase):
    def test_hop(self) -> None:
        via = Via.parse("SIP / 2.0 / tcp Host.example.com : 5070 ;branch= z9hG4bK1;rport")
        self.assertEqual((via.transport, via.host, via.port), ("TCP", "host.example.com", 5070))
        self.assertEqual(via.branch, "z9hG4bK1")
        self.assertTrue(via.wants_rport)
        self.assertIsNone(via.rport)


class CSeqTests(SynchronousTestCase):
    def test_number_and_method(self) -> None:
        self.assertEqual(CSeq.parse("0009   INVITE"), CSeq(9, "INVITE"))
