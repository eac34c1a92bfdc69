"""The sizes in which LTX-2 can be played; needs no torch."""

SIZES = {"480p": (832, 480), "720p": (1280, 704), "1080p": (1920, 1088)}  # its sides are multiples of 32
