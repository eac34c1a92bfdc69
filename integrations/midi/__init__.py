"""MIDI in and back."""
