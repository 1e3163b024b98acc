"""What becomes of messages that cannot be read: an answer where one can be given, a log line."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from msrpconf.protocols.sip.flow import Flow, quota_key
from msrpconf.protocols.sip.identifiers import stateless_tag
from msrpconf.protocols.sip.message import Response, SipParseError

_log = Logger()

LINES = 10
"""Lines that one peer's messages may fill in `PERIOD`."""

ALL_LINES = 200
"""Lines that all peers together may fill in `PERIOD`: over UDP, peers can be made up."""

PERIOD = 60.0
"""Seconds."""


class LineBudget:
    """How many log lines peers may cause, so that nobody can fill the disk from outside."""

    def __init__(self, clock: IReactorTime, lines: int = LINES, all_lines: int = ALL_LINES) -> None:
        self._clock = clock
        self._lines = lines
        self._all_lines = all_lines
        self._start = clock.seconds()
        self._spent: Counter[str] = Counter()
        self._total = 0
        self._left_out = 0

    def take(self, host: str) -> str | None:
        """What to add to a line about this peer, most often nothing; None: leave the line out."""
        now = self._clock.seconds()
        note = ""
        if now - self._start >= PERIOD:
            if self._left_out:
                note = f"; {self._left_out} such lines were left out before"
            self._start, self._total, self._left_out = now, 0, 0
            self._spent.clear()
        key = quota_key(host)
        if self._total >= self._all_lines or self._spent.get(key, 0) >= self._lines:
            self._left_out += 1
            return None
        self._total += 1
        self._spent[key] += 1
        return note


def answer_malformed(error: SipParseError) -> Response | None:
    """The response that the sender of a bad message is owed; None where none can be sent.

    Stateless (RFC 3261 section 8.2.7); the reason phrase says what is wrong.
    """
    if error.request is None:
        return None
    return error.request.response(error.status, error.reason, to_tag=stateless_tag(error.request))


def log_malformed(budget: LineBudget, error: SipParseError, flow: Flow) -> None:
    """One line: who sent it, which call, what was wrong, and what we said."""
    note = budget.take(flow.remote[0])
    if note is None:
        return
    request = error.request
    _log.warn(
        "bad SIP message from {source}, {answer}: {reason} (Call-ID {call_id}){note}",
        source=str(flow.peer),
        answer=f"answered {error.status}" if request is not None else "dropped",
        reason=error.reason,
        call_id=ascii(request.headers.get("Call-ID")) if request is not None else "unknown",
        note=note,
    )
