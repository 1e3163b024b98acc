"""Why there is no TLS with a peer, for people."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost

VERIFY_ERRORS = {
    2: "the certificate of its signer is not among our authorities",
    7: "its certificate's signature is wrong",
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is signed by itself, and by none of our authorities",
    19: "its certificate is signed by none of our authorities",
    20: "its certificate is signed by none of our authorities",
    21: "its certificate is signed by none of our authorities",
    24: "its certificate is signed by one that may not sign",
    26: "its certificate is not for this side of a connection",
}
"""What OpenSSL finds wrong with a certificate (x509_vfy.h), in words."""


_NOT_TLS = frozenset(
    {"wrong version number", "http request", "unknown protocol", "record layer failure"}
)


def note_refusal(transport: object, error: int) -> None:
    """Keep on a TLS transport why its peer's certificate is refused; the first reason counts.

    `error` is OpenSSL's number. What is around a protocol may not let an attribute through, so
    it is kept where `why_refused` finds it.
    """
    refused: Any = transport
    if refused.verify_error is None:
        refused.verify_error = VERIFY_ERRORS.get(
            error, f"its certificate is not accepted (OpenSSL's error {error})"
        )


def why_refused(error: BaseException | None, transport: object) -> str:
    """Why the connection of a transport ended, for people."""
    wrong: str | None = getattr(transport, "verify_error", None)
    if wrong is not None:
        return wrong
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        reasons = [str(entry[-1]) for entry in error.args[0] if entry and entry[-1]]
        text = reasons[-1] if reasons else "TLS failed"
        if "alert" in text:
            return f"it did not accept our certificate ({text})"
        if "did not return a certificate" in text:
            return "it presented no certificate"
        if text in _NOT_TLS:
            return f"it does not speak TLS ({text})"
        return text
    if isinstance(error, ConnectionDone):
        return "it closed the connection"
    if isinstance(error, ConnectionLost):
        return "the connection broke"
    return str(error) or type(error).__name__
