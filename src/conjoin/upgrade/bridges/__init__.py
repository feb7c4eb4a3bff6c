"""Maps from a new encoder's vectors to an old one's."""
