"""The world process: prompt deck, encoder, playout, quality, live source."""
