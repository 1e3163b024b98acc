"""Stands in for a PostgreSQL server on a host: passes what comes on to its Unix socket.

python relay.py ADDRESS PORT DIRECTORY
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

SOCKET = ".s.PGSQL.5432"


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, to its end."""
    try:
        while octets := await reader.read(65536):
            writer.write(octets)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(host: str, port: str, directory: str) -> None:
    """Relay for ever."""

    async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_unix_connection(Path(directory) / SOCKET)
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    server = await asyncio.start_server(come, host, int(port))
    print("relays", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
