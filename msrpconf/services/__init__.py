"""What listens, connects and keeps time: Twisted services and their composition."""
