"""Streams by TCP, UDP, SRT and RTMP."""
