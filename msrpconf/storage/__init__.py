"""What outlives a restart, in an SQL database: static rooms, and what was said in them."""
