"""The show file: schema, pads, banks, media, MIDI maps, controllers."""
