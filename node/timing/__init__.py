"""Pacing, tempo, show clock, schedule, easing: pure functions of time."""
