"""HTTP requests of XCAP clients, and their answers."""

from __future__ import annotations

from urllib.parse import unquote

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from msrpconf.services.management.guard import Guard
from msrpconf.services.management.http import Answer, Call
from msrpconf.services.management.problem import Problem
from msrpconf.services.xcap.auth import Authenticator
from msrpconf.storage.errors import DatabaseError, NoSuchRoom
from msrpconf.xcap.errors import ERROR_TYPE, Conflict, Refused
from msrpconf.xcap.resource import XcapAnswer, XcapRequest, XcapResource
from msrpconf.xcap.store import ROOT, TooManyDocuments


class XcapHandler:
    """Answers HTTP requests with `resource`, for those whom `authenticator` knows."""

    def __init__(self, resource: XcapResource, authenticator: Authenticator) -> None:
        self._resource = resource
        self._authenticator = authenticator
        self._guard = Guard(None, False)

    def __call__(self, call: Call) -> Deferred[Answer]:
        """The answer; it fails with `Problem`."""
        done: Deferred[Answer] = maybeDeferred(self._answer, call)
        return done.addErrback(_refusal)

    def _answer(self, call: Call) -> Deferred[Answer]:
        self._guard.check_source(call.method, call.headers)
        request = _request(call)
        found = self._resource.find(request)
        query = f"?{call.query}" if call.query else ""
        target = call.path + query
        user = self._authenticator.user(call.method, target, call.headers, call.peer)
        who = "the operator" if user is None else str(user)
        done = self._resource.answer(request, found, user)
        return done.addCallback(lambda answer: _http(answer, f"by {who}"))


def _request(call: Call) -> XcapRequest:
    root, *rest = call.segments
    if f"/{root}" != ROOT:
        raise Problem(404, f"the XCAP root is {ROOT}")
    try:
        query = unquote(call.query, errors="strict")
    except UnicodeDecodeError:
        raise Problem(400, "the query must be UTF-8, percent-encoded") from None
    return XcapRequest(
        call.method,
        tuple(rest),
        query,
        _header(call.headers, "content-type") or "",
        _header(call.headers, "if-match"),
        _header(call.headers, "if-none-match"),
        call.body,
    )


def _header(headers: Headers, name: str) -> str | None:
    values = headers.getRawHeaders(name.encode("ascii"))
    return None if values is None else ", ".join(each.decode("latin-1") for each in values)


def _http(answer: XcapAnswer, detail: str) -> Answer:
    headers = () if answer.etag is None else (("ETag", f'"{answer.etag}"'),)
    content_type = answer.content_type or "text/plain"
    return Answer(None, answer.status, answer.body, content_type, headers, detail)


def _refusal(failure: Failure) -> Answer:
    error = failure.value
    if isinstance(error, TooManyDocuments):
        error = Conflict("constraint-failure", str(error))
    if isinstance(error, Conflict):
        detail = f"{error.condition}: {error.phrase}"
        return Answer(None, 409, error.document, ERROR_TYPE, detail=detail)
    if isinstance(error, Refused):
        raise Problem(error.status, error.detail, error.headers)
    if isinstance(error, NoSuchRoom):
        raise Problem(404, str(error))
    if isinstance(error, DatabaseError):
        detail = "the database cannot be used: try again later"
        raise Problem(503, detail, (("Retry-After", "10"),)) from error
    failure.raiseException()
    raise AssertionError
