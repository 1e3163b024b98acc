"""The 2xx to an INVITE, again and again until its ACK (RFC 3261 §13.3.1.4).

It crosses hops that lose datagrams, whatever transport our own has, so its sender
repeats it: after T1, then twice as long each time up to T2, at most 64*T1 in all.
That nothing came in the end the server finds out by itself: it knows the dialog.
"""

from __future__ import annotations

from attrs import define

from msrpconf.protocols.sip.message import Request, Response
from msrpconf.protocols.sip.timers import Alarm, AlarmClock, Timers
from msrpconf.protocols.sip.transaction import ServerTransaction

CallKey = tuple[str, str, str]
"""Call-ID, our tag, the peer's tag."""


@define(eq=False)
class _Repetition:
    transaction: ServerTransaction
    response: Response
    interval: float
    waited: float = 0.0
    alarm: Alarm | None = None


class Repeater:
    """All 2xx responses that wait for their ACK."""

    def __init__(self, alarms: AlarmClock, timers: Timers) -> None:
        self._alarms = alarms
        self._timers = timers
        # By the number in CSeq: an INVITE may come before the ACK for the one before it.
        self._calls: dict[CallKey, dict[int, _Repetition]] = {}

    def __len__(self) -> int:
        return sum(len(each) for each in self._calls.values())

    def repeat(self, transaction: ServerTransaction, response: Response) -> None:
        """Repeat `response`, which was sent just now, until one of the others is called."""
        repetition = _Repetition(transaction, response, self._timers.t1)
        call = response.call_id, response.to.tag or "", response.from_.tag or ""
        self._calls.setdefault(call, {})[response.cseq.number] = repetition
        self._wait(call, response.cseq.number, repetition)

    def acknowledged(self, ack: Request) -> None:
        """The ACK has come."""
        self._forget((ack.call_id, ack.to.tag or "", ack.from_.tag or ""), ack.cseq.number)

    def ended(self, call: CallKey) -> None:
        """The call is over, by a BYE of either side."""
        for number in list(self._calls.get(call, ())):
            self._forget(call, number)

    def stop(self) -> None:
        """Repeat nothing any more."""
        for call in list(self._calls):
            self.ended(call)

    def _wait(self, call: CallKey, number: int, repetition: _Repetition) -> None:
        repetition.alarm = self._alarms.set(
            repetition.interval, lambda: self._again(call, number, repetition)
        )

    def _again(self, call: CallKey, number: int, repetition: _Repetition) -> None:
        repetition.waited += repetition.interval
        if repetition.waited >= self._timers.timeout:
            self._forget(call, number)
            return
        repetition.transaction.respond(repetition.response)
        repetition.interval = min(2 * repetition.interval, self._timers.t2)
        self._wait(call, number, repetition)

    def _forget(self, call: CallKey, number: int) -> None:
        repetitions = self._calls.get(call, {})
        repetition = repetitions.pop(number, None)
        if repetition is None:
            return
        if repetition.alarm is not None:
            repetition.alarm.cancel()
        if not repetitions:
            del self._calls[call]
