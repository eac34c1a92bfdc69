"""Gamepads by GLFW."""
