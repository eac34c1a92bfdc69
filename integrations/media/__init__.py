"""What outputs share that encode: FFmpeg frames, H.264, AAC."""
