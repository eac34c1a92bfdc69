"""Linear timecode (LTC): the timecode that is an audio signal."""
