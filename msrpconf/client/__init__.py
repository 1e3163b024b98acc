"""A user agent: join a room, speak, listen, leave."""
