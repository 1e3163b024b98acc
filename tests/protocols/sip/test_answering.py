"""What a client does when a proxy asks for its password."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from msrpconf.protocols.sip.answering import MAX_REALMS, Answering, credentials_of
from msrpconf.protocols.sip.digest import Challenge, Credentials, ha1
from msrpconf.protocols.sip.message import Request, Response
from tests.protocols.sip.fakes import make_request


def challenge(request: Request, *challenges: Challenge, status: int = 407) -> Response:
    name = "Proxy-Authenticate" if status == 407 else "WWW-Authenticate"
    return request.response(status, headers=[(name, str(each)) for each in challenges])


def said(request: Request, name: str = "Proxy-Authorization") -> list[Credentials]:
    return [Credentials.parse(value) for value in request.headers.get_all(name)]


class AnsweringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.answering = Answering("alice", "pw")
        self.request = make_request("INVITE")

    def again(self, request: Request, response: Response) -> Request:
        again = self.answering.answer(request, response)
        assert again is not None
        return again

    def test_a_proxy(self) -> None:
        again = self.again(self.request, challenge(self.request, Challenge("r", "n")))
        self.assertEqual(again.cseq.number, self.request.cseq.number + 1)
        self.assertEqual(again.call_id, self.request.call_id)
        (credentials,) = said(again)
        self.assertEqual(credentials.uri, str(self.request.uri))
        self.assertTrue(credentials.matches(ha1("MD5", "alice", "r", "pw"), "INVITE"))
        self.assertEqual(credentials_of(again), [("Proxy-Authorization", str(credentials))])
        self.assertNotIn("Proxy-Authorization", self.request.headers)

    def test_a_server(self) -> None:
        asked = Challenge("r", "n", "SHA-256", opaque="o")
        again = self.again(self.request, challenge(self.request, asked, status=401))
        (credentials,) = said(again, "Authorization")
        self.assertEqual((credentials.algorithm, credentials.opaque), ("SHA-256", "o"))
        self.assertTrue(credentials.matches(ha1("SHA-256", "alice", "r", "pw"), "INVITE"))

    def test_two_proxies_on_the_way(self) -> None:
        once = self.again(self.request, challenge(self.request, Challenge("one", "n")))
        twice = self.again(once, challenge(once, Challenge("two", "m")))
        self.assertEqual([each.realm for each in said(twice)], ["one", "two"])

    def test_a_wrong_password_is_said_once(self) -> None:
        again = self.again(self.request, challenge(self.request, Challenge("r", "n")))
        self.assertIsNone(self.answering.answer(again, challenge(again, Challenge("r", "m"))))
        later = make_request("BYE")
        self.answering.prepare(later)
        self.assertNotIn("Proxy-Authorization", later.headers)

    def test_a_stale_nonce_is_no_wrong_password(self) -> None:
        again = self.again(self.request, challenge(self.request, Challenge("r", "n")))
        third = self.again(again, challenge(again, Challenge("r", "m", stale=True)))
        (credentials,) = said(third)
        self.assertEqual((credentials.nonce, credentials.nc), ("m", 1))

    def test_what_was_asked_is_remembered(self) -> None:
        self.again(self.request, challenge(self.request, Challenge("r", "n")))
        for count in (2, 3):
            later = make_request("BYE")
            self.answering.prepare(later)
            (credentials,) = said(later)
            self.assertEqual((credentials.nonce, credentials.nc), ("n", count))
            self.assertTrue(credentials.matches(ha1("MD5", "alice", "r", "pw"), "BYE"))
        # That was too old, though it does not say so.
        again = self.again(later, challenge(later, Challenge("r", "m")))
        self.assertEqual([each.nonce for each in said(again)], ["m"])

    def test_nothing_to_answer(self) -> None:
        for response in (
            self.request.response(407),
            challenge(self.request, Challenge("r", "n"), status=401).copy(),
            challenge(self.request, Challenge("r", "n", "SHA-3")),
            self.request.response(403),
        ):
            if response.status == 401:
                response.headers.set("WWW-Authenticate", 'Basic realm="r"')
            self.assertIsNone(self.answering.answer(self.request, response))

    def test_realms_are_bounded(self) -> None:
        for number in range(3 * MAX_REALMS):
            self.again(self.request, challenge(self.request, Challenge(f"r{number}", "n")))
        later = make_request("BYE")
        self.answering.prepare(later)
        self.assertEqual(len(said(later)), MAX_REALMS)
