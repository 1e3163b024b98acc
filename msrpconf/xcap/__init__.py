"""Who may watch a room: pres-rules documents, the table that has them, and access by XCAP."""
