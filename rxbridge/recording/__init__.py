"""Recordings: frames that were received once, kept in a file to be played again."""

from rxbridge.recording.reader import RecordedFrame, read

__all__ = ["RecordedFrame", "read"]
