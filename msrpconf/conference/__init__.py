"""The rooms: registry, participants and what each may do. No sockets, no reactor."""
