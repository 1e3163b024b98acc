"""Why something is not done, as a value."""

from __future__ import annotations

from attrs import frozen


@frozen
class Denied:
    """A refusal: the SIP `status` that it becomes, a `reason` that a person can act on.

    `headers` are what else the response carries, such as Retry-After.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()
