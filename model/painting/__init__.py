"""Worlds that paint over another world: what moves with the picture, and the two played as one."""
