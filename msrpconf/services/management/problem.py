"""What a request cannot have, as the client is told (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus

from attrs import field, frozen

TYPE = "application/problem+json"


@frozen
class Problem(Exception):
    """A refusal: the HTTP `status`, and a `detail` that a person can act on.

    `headers` are what else the answer carries, such as Allow.
    """

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...] = field(default=())

    @property
    def document(self) -> dict[str, object]:
        """What is sent."""
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
