"""The test messages of RFC 4475 and RFC 5118, as their appendices encode them."""

from __future__ import annotations

import re
from pathlib import Path

_DATA = Path(__file__).parent / "data"
_CONTENT_LENGTH = re.compile(rb"Content-Length: [0-9]+")


def torture(name: str) -> bytes:
    """The octets of a message of RFC 4475; the archive lacks the last line of one of them."""
    data = (_DATA / "rfc4475" / f"{name}.dat").read_bytes()
    return data + b"\r\n" if name == "baddn" else data


def ipv6(name: str) -> bytes:
    """A message of RFC 5118.

    The archive writes lines without CR and sometimes without the last one, and counts bodies in
    its own ways: both are put right here, everything else is as it is.
    """
    data = (_DATA / "rfc5118" / name).read_bytes().replace(b"\n", b"\r\n")
    if b"\r\n\r\n" not in data:
        data += b"\r\n"
    body = data.partition(b"\r\n\r\n")[2]
    return _CONTENT_LENGTH.sub(b"Content-Length: %d" % len(body), data)


def names() -> list[str]:
    """Every message of RFC 4475."""
    return sorted(path.stem for path in (_DATA / "rfc4475").glob("*.dat"))
