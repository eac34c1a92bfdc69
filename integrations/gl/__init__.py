"""Shared by the outputs that draw with OpenGL: canvas, composing, projection, CUDA interoperation."""
