"""OSC in and back, and OSCQuery."""
