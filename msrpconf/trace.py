"""What goes over the wires, for people to read: `--trace sip,msrp` of server and client.

    --> 09:25:39.120 sip udp:127.0.0.1:5060, 341 octets
        OPTIONS sip:lobby@127.0.0.1 SIP/2.0
        Via: SIP/2.0/UDP 127.0.0.1:40001;rport;branch=z9hG4bK7qf2

`-->` is what we send, `<--` what we receive. A stream is shown as it was read and written,
so what it shows may begin or end within a message. Long bodies are cut, and what is not text
is left out, with a note of how much that was.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from datetime import datetime

from twisted.logger import Logger

from msrpconf.visible import visible

__all__ = ["KINDS", "Tracer", "describe", "parse_trace", "write_to_log"]

KINDS = frozenset({"sip", "msrp"})
"""What can be traced."""

MAX_HEAD = 8192
"""Octets of a message's start line and headers that are shown."""

MAX_BODY = 2000
"""Octets of a body that are shown."""

_INDENT = "    "
_ARROWS = {"in": "<--", "<": "<--", "out": "-->", ">": "-->"}

_FRAME = re.compile(rb"MSRP ([A-Za-z0-9][A-Za-z0-9.\-+%=]{0,31}) ")
_END_LINE = re.compile(rb"(?:\A|\r\n)(-------[A-Za-z0-9][A-Za-z0-9.\-+%=]{0,31}[$+#])\r\n")
_CONTENT_LENGTH = re.compile(rb"\r\n(?:Content-Length|l)[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.I)
_LINE_END = re.compile("\r?\n")

log = Logger()


def parse_trace(text: str) -> frozenset[str]:
    """The kinds of a list as `sip,msrp`; empty for an empty text. Raises ValueError."""
    kinds = frozenset(kind.strip().lower() for kind in text.split(",")) - {""}
    unknown = sorted(kinds - KINDS)
    if unknown:
        raise ValueError(f"expected sip, msrp or sip,msrp to trace, got {visible(unknown[0])!r}")
    return kinds


def write_to_log(text: str) -> None:
    """Has a trace in the log of the process."""
    log.info("{text}", text=text)


class Tracer:
    """Writes what is sent and received, each as one text of several lines, to `write`.

    Call it with kind ("sip" or "msrp"), direction ("in" or "<", "out" or ">"), peer and octets:
    it is what a `UserAgent` and a `ConferenceService` take as `trace`. `kinds` are those that
    are shown; `now` gives the local time.
    """

    def __init__(
        self,
        kinds: frozenset[str],
        write: Callable[[str], None] = write_to_log,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.kinds = kinds
        self._write = write
        self._now = now

    def __call__(self, kind: str, direction: str, peer: str, octets: bytes) -> None:
        if kind in self.kinds:
            self._write(describe(kind, direction, peer, octets, self._now()))


def describe(kind: str, direction: str, peer: str, octets: bytes, time: datetime) -> str:
    """One or more messages, as the module's text shows it; lines without an end at the last."""
    clock = time.strftime("%H:%M:%S.") + f"{time.microsecond // 1000:03}"
    count = f"{len(octets)} octet{'' if len(octets) == 1 else 's'}"
    lines = _msrp_lines(octets) if kind == "msrp" else _sip_lines(octets)
    head = f"{_ARROWS[direction]} {clock} {kind} {visible(peer)}, {count}"
    return "\n".join([head, *(f"{_INDENT}{line}".rstrip() for line in lines)])


def _sip_lines(octets: bytes) -> Iterator[str]:
    """SIP messages, one after the other as Content-Length tells; or what there is of them."""
    while octets:
        octets = octets.lstrip(b"\r\n")
        if not octets:
            yield "(empty lines, which keep the connection open)"
            return
        head, separator, rest = octets.partition(b"\r\n\r\n")
        yield from _head_lines(head)
        length = _CONTENT_LENGTH.search(head + b"\r\n")
        size = int(length.group(1)) if length else len(rest)
        body, octets = rest[:size], rest[size:]
        if body:
            yield ""
            yield from _body_lines(body)
        if octets and separator:
            yield ""


def _msrp_lines(octets: bytes) -> Iterator[str]:
    """MSRP frames, and the rest of one that began earlier (RFC 4975 section 7.1)."""
    while octets:
        start = _FRAME.match(octets)
        if start is None:
            end = _END_LINE.search(octets)
            body, head = octets[: end.start() if end else None], b""
        else:
            transaction = re.escape(start.group(1))
            end = re.search(rb"\r\n(-------" + transaction + rb"[$+#])\r\n", octets)
            frame = octets[: end.start() if end else None]
            head, _, body = frame.partition(b"\r\n\r\n")
        if head:
            yield from _head_lines(head)
            if body:
                yield ""
        yield from _body_lines(body)
        if end is None:
            return
        yield end.group(1).decode("ascii")
        octets = octets[end.end() :]


def _head_lines(head: bytes) -> Iterator[str]:
    text = head[:MAX_HEAD].decode("utf-8", "replace")
    yield from (visible(line) for line in _LINE_END.split(text.rstrip("\r\n")))
    if len(head) > MAX_HEAD:
        yield f"[{len(head) - MAX_HEAD} more octets left out]"


def _body_lines(body: bytes) -> Iterator[str]:
    """The text that `body` begins with, up to `MAX_BODY`, and how much was left out."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(body[:MAX_BODY], len(body) <= MAX_BODY)
        is_text = "\0" not in text
    except UnicodeDecodeError as error:
        text, is_text = body[: error.start].decode("utf-8"), False
    if not is_text:
        # Whole lines only: half a line before a picture says nothing.
        text = text.partition("\0")[0]
        text = text[: text.rfind("\n") + 1]
    left_out = len(body) - len(text.encode("utf-8"))
    if text:
        yield from (
            visible(line) for line in _LINE_END.split(text.removesuffix("\n").removesuffix("\r"))
        )
    if left_out:
        yield f"[{left_out} {'more octets' if is_text else 'octets that are not text'} left out]"
