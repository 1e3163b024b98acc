"""Requests as they come, from whoever they come: what is refused, and how it is said."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import fail
from twisted.logger import formatEvent
from twisted.web.http_headers import Headers

from msrpconf.services.management import http
from msrpconf.services.management.guard import Guard
from msrpconf.services.management.problem import Problem
from msrpconf.storage.errors import DatabaseError
from tests.services.management.support import ManagementTestCase, read_reply


class RequestTests(ManagementTestCase):
    def test_what_there_is(self) -> None:
        self.assertIn("/openapi.json", self.get("/")["links"])
        self.assertEqual(self.get("/openapi.json")["info"]["title"], "msrpconf")

    def test_no_such_path(self) -> None:
        for path in ("/v2", "/v1/rooms/", "/v1//participants", "/v1/rooms/a/b/c/d", "/%2e%2e/x"):
            self.refused(self.ask("GET", path), 404, "there is nothing at this path")

    def test_what_another_process_has(self) -> None:
        for path in ("/v1/dispatcher/servers", "/v1/dispatcher"):
            self.refused(self.ask("GET", path), 404, "there is no dispatcher here")

    def test_no_such_method(self) -> None:
        reply = self.ask("POST", "/v1/status", {})
        self.refused(reply, 405, "/v1/status takes GET, HEAD")
        self.assertEqual(reply.headers["allow"], "GET, HEAD")
        self.refused(self.ask("BREW", "/v1/rooms"), 405, "takes GET, HEAD, POST")

    def test_head_has_no_body(self) -> None:
        whole = self.ask("GET", "/v1/rooms")
        head = self.send(b"HEAD /v1/rooms HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertTrue(head.endswith(b"\r\n\r\n"))
        self.assertIn(f"Content-Length: {len(whole.body)}".encode(), head)

    def test_a_body_that_is_no_json(self) -> None:
        for octets in (
            b"",
            b"{",
            b"\xff",
            b'"\\ud800"',
            b"NaN",
            b"[" * 100_000,
            b"1e999999",
            b"1" * 5000,
        ):
            reply = self.ask("POST", "/v1/rooms", octets=octets)
            self.assertEqual(reply.status, 400, octets[:20])
            self.assertIn("the body", reply.detail)

    def test_a_body_of_another_form(self) -> None:
        for body, said in (
            ([], "the body: [] is not of type 'object'"),
            ({}, "'uri' is a required property"),
            ({"uri": 5}, "the body, uri: 5 is not of type 'string'"),
            ({"uri": "x@y", "colour": 1}, "colour is unknown; the names are "),
            ({"uri": "x@y", "users": {"sip:a@b": "king"}}, "'king' is not one of"),
            ({"uri": "x@y", "settings": {"burst": 0}}, "the body, settings.burst: 0 is less"),
        ):
            self.refused(self.ask("POST", "/v1/rooms", body), 400, said)

    def test_only_json_changes_anything(self) -> None:
        """What a form in a web page can send is not taken."""
        for content_type in (
            None,
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=latin1",
        ):
            for path in ("/v1/rooms", "/v1/reload"):
                reply = self.ask("POST", path, {"uri": "x@y"}, content_type=content_type)
                self.refused(reply, 415, "send it with Content-Type: application/json")
        self.refused(self.ask("PUT", "/v1/drain", content_type=None), 415, "application/json")
        self.assertFalse(self.registry.draining)

    def test_a_database_that_is_away(self) -> None:
        self.reloaded = fail(DatabaseError("database x: it is away"))
        reply = self.ask("POST", "/v1/reload")
        self.refused(reply, 503, "database x: it is away")
        self.assertEqual(reply.headers["retry-after"], "10")

    def test_a_query_that_cannot_be(self) -> None:
        for query, said in (
            ("limit=0", "query: limit"),
            ("limit=1001", "query: limit"),
            ("limit=ten", "expected a whole number, 1 to 1000"),
            ("limit=" + "9" * 5000, "expected a whole number"),
            ("limit=%D9%A3", "expected a whole number"),
            ("limit=1&limit=2", "more than once"),
            ("colour=red", "unknown query parameter 'colour'; there are: match, kind, limit"),
            ("kind=red", "query: kind: 'red' is not one of"),
            ("match=%ff", "the query cannot be read"),
            ("&".join(["match=1"] * 30), "the query cannot be read"),
        ):
            self.refused(self.ask("GET", f"/v1/rooms?{query}"), 400, said)

    def test_a_path_that_is_no_text(self) -> None:
        self.refused(self.ask("GET", "/v1/rooms/%ff"), 400, "the path must be UTF-8")
        self.refused(self.ask("GET", "*"), 400, "must be a path")

    def test_a_body_has_a_bound(self) -> None:
        self.patch(http, "MAX_BODY", 50)
        self.refused(
            self.ask("POST", "/v1/rooms", {"uri": "x" * 60}), 413, "may have 50 octets at most"
        )
        chunks = b"28\r\n" + b"x" * 40 + b"\r\n"
        head = b"POST /v1/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        sent = self.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks * 3 + b"0\r\n\r\n")
        self.refused(read_reply(sent), 413, "may have 50 octets at most")

    def test_connections_have_a_bound(self) -> None:
        self.patch(http, "MAX_CONNECTIONS", 1)
        self.factory.channels.add(object())
        self.assertIsNone(self.factory.buildProtocol(None))

    def test_a_fault_is_told_without_a_traceback(self) -> None:
        def broken() -> list[str]:
            raise ZeroDivisionError("x")

        object.__setattr__(self.parts, "listening", broken)
        self.refused(self.ask("GET", "/v1/status"), 500, "the server has a fault")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nobody_keeps_what_was_answered(self) -> None:
        reply = self.ask("GET", "/v1/rooms")
        self.assertEqual(reply.headers["cache-control"], "no-store")
        self.assertEqual(reply.headers["x-content-type-options"], "nosniff")

    def test_each_request_has_a_line_without_its_query(self) -> None:
        self.ask("GET", "/v1/rooms?match=geheim")
        self.ask("GET", "/v1/rooms/sip:a%0ab@c")
        self.ask("GET", "/metrics")
        self.assertEqual(
            self.lines,
            [
                "management: GET /v1/rooms of 192.168.1.1: 200",
                "management: GET /v1/rooms/sip:a%0ab@c of 192.168.1.1: 404"
                " not the URI of a room, such as sip:lobby@example.com: "
                r"a URI cannot hold white space: 'sip:a\nb@c'",
            ],
        )

    @property
    def lines(self) -> list[str]:
        found: list[str] = []
        for event in self.events:
            text = formatEvent(event)
            if text.startswith("management: "):
                found.append(text)
        return found


class GuardTests(ManagementTestCase):
    def test_a_page_that_has_its_name_lead_here(self) -> None:
        for host in (
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil",
        ):
            self.refused(self.ask("GET", "/v1/rooms", host=host), 403, "ask for 127.0.0.1")
        for host in ("127.0.0.1:8080", "localhost", "LOCALHOST:80", "[::1]:8080", "[::1]"):
            self.assertEqual(self.ask("GET", "/v1/rooms", host=host).status, 200, host)

    def test_a_page_of_another_host(self) -> None:
        for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
            reply = self.ask("DELETE", "/v1/drain", headers=(f"Origin: {origin}",))
            self.refused(reply, 403, "not taken from web pages")
        ours = ("Origin: http://127.0.0.1:8080",)
        self.assertEqual(self.ask("DELETE", "/v1/drain", headers=ours).status, 200)


class TokenTests(ManagementTestCase):
    token = "0123456789abcdef"
    local = False

    def test_who_has_it(self) -> None:
        for value in ("Bearer 0123456789abcdef", "bearer  0123456789abcdef"):
            reply = self.ask("GET", "/v1/rooms", headers=(f"Authorization: {value}",), host="any")
            self.assertEqual(reply.status, 200)

    def test_who_has_not(self) -> None:
        for value in (
            None,
            "Bearer",
            "Bearer 0123456789abcdeX",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "Bearer \xe4",
        ):
            headers = () if value is None else (f"Authorization: {value}",)
            for path in ("/v1/rooms", "/metrics", "/openapi.json", "/", "/nothing"):
                reply = self.ask("GET", path, headers=headers, host="any")
                self.refused(reply, 401, "Authorization: Bearer TOKEN")
                self.assertIn("Bearer", reply.headers["www-authenticate"])
                self.assertNotIn(self.token, str(reply))

    def test_health_is_for_all(self) -> None:
        for path in ("/healthz", "/readyz"):
            self.assertEqual(self.ask("GET", path, host="any").status, 200)

    def test_it_is_compared_in_constant_time(self) -> None:
        """Which `hmac.compare_digest` does, and nothing before it looks at the token."""
        compared: list[tuple[bytes, bytes]] = []

        def compare(one: bytes, other: bytes) -> bool:
            compared.append((one, other))
            return False

        guard: Any = __import__("msrpconf.services.management.guard", fromlist=["hmac"])
        self.patch(guard.hmac, "compare_digest", compare)
        headers = Headers({"Authorization": ["Bearer short"]})
        self.assertRaises(Problem, Guard(self.token, False).check_token, headers)
        self.assertEqual(compared, [(b"short", self.token.encode())])
