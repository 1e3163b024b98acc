"""The wires: bytes to messages and back. Nothing here knows what a room is."""
