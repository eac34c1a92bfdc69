"""The browser output: a page with the program, and MJPEG for players."""
