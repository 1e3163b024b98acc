"""Which server has which room, where several dispatchers share the servers.

Functions of a connection, for `Database.run`.

A claim is a row with the room as its key, so there is one at most. It is taken from its server
only by who knows that the room is not there: because the server is up and has told so, or because
nobody has counted up its beat for long enough. Beats are compared by each dispatcher's own clock,
so that the clocks of hosts need not agree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from msrpconf.storage.database import AT_ONCE
from msrpconf.storage.schema import beats, claims

_ATTEMPTS = 5

BEGAN = 1_000_000
"""What the first beat of a process counts: others see by it that it knows nothing of before."""


class ClaimError(Exception):
    """Others have claimed a room again and again in the same moment."""


def claim(
    connection: Connection, room: str, wanted: Sequence[str], free: Collection[str], now: float
) -> str:
    """The server that a room is to begin at.

    That is who has the claim, if that may be so, else the first of `wanted`, which then has it:
    `free` are the servers that a claim may be taken from; `now` is in seconds of the epoch.
    Raises `ClaimError`.
    """
    holder = select(claims.c.server).where(claims.c.room == room)
    for _ in range(_ATTEMPTS):
        found: str | None = connection.scalar(holder)
        if found is None:
            if _inserted(connection, room, wanted[0], now):
                return wanted[0]
            continue
        # Counted as used also where it stays, so that nobody purges it meanwhile.
        server = found if found in wanted or found not in free else wanted[0]
        written = connection.execute(
            update(claims)
            .where(claims.c.room == room, claims.c.server == found)
            .values(server=server, touched=now)
        )
        if written.rowcount or (server == found and connection.scalar(holder) == found):
            return server
    raise ClaimError(f"{room} is claimed by others again and again")


def _inserted(connection: Connection, room: str, server: str, now: float) -> bool:
    try:
        # What goes wrong in it takes back no more than itself.
        with connection.begin_nested():
            connection.execute(insert(claims).values(room=room, server=server, touched=now))
    except IntegrityError:
        return False
    return True


def purge(
    connection: Connection, server: str, living: Collection[str], before: float, now: float
) -> int:
    """Remove claims of a server that were not used since `before`, and whose rooms are over.

    `living` are the rooms that the server has. At most so many at a time; gives their number.
    """
    old = select(claims.c.room).where(claims.c.server == server, claims.c.touched < before)
    found = list(connection.scalars(old.limit(AT_ONCE)))
    over = [room for room in found if room not in living]
    same = claims.c.server == server, claims.c.touched < before
    if over:
        connection.execute(delete(claims).where(claims.c.room.in_(over), *same))
    kept = [room for room in found if room in living]
    if kept:
        connection.execute(update(claims).where(claims.c.room.in_(kept), *same).values(touched=now))
    return len(over)


def beat(connection: Connection, names: Iterable[str], began: str | None = None) -> dict[str, int]:
    """Count up the beats of these, that of `began` by a leap, and give all there are."""
    # In one order: who goes the other way could wait for us while we wait for them.
    for name in sorted(names):
        counted = connection.execute(
            update(beats)
            .where(beats.c.name == name)
            .values(beat=beats.c.beat + (BEGAN if name == began else 1))
        )
        if not counted.rowcount:
            try:
                with connection.begin_nested():
                    connection.execute(insert(beats).values(name=name, beat=1))
            except IntegrityError:
                pass  # another has just done it
    return {row.name: row.beat for row in connection.execute(select(beats))}
