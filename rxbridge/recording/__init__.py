"""Recordings: frames that were received once, kept in files to be played again."""

from rxbridge.recording.lines import Mark, RecordedFrame
from rxbridge.recording.playing import frames
from rxbridge.recording.reader import marks, read
from rxbridge.recording.writer import RecordingWriter

__all__ = ["Mark", "RecordedFrame", "RecordingWriter", "frames", "marks", "read"]
