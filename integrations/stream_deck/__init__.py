"""Stream Decks by python-elgato-streamdeck."""
