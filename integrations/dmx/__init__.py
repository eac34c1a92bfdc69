"""DMX over a network: Art-Net and sACN (ANSI E1.31)."""
