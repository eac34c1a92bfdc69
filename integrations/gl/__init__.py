"""What outputs share that draw with OpenGL: canvas, composing, projection, CUDA interoperation."""
