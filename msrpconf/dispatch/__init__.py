"""Which server has which room: tables and their placement, without sockets."""
