"""What the scenarios stand on: the Hub stand-in, the mount, the clients, and the repositories that they load."""
