"""Writing recordings: what was appended is read again, to the nanosecond and the byte, whatever ends the writer."""

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.errors import MissingExtra, RecordingError
from rxbridge.messages import Frame
from rxbridge.recording import Mark, RecordedFrame, RecordingWriter, marks, read
from rxbridge.recording.files import files_of
from rxbridge.recording.lines import LATEST_SECONDS
from rxbridge.recording.reader import read_frames

START = 1_700_000_000_123_456_789

unhurried = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def frame(number: int, *, connection: int = 7, at: int | None = None, data: bytes | None = None) -> Frame:
    """A frame that was received `number` seconds after the start."""
    received_at = START + number * 1_000_000_000 if at is None else at
    return Frame(data or b'{"number":%d}' % number, received_at, connection, number)


def append_all(writer: RecordingWriter, frames: list[Frame]) -> None:
    for one in frames:
        writer.append(one)


def again(path: Path) -> list[Frame]:
    return list(read_frames(files_of(path)))


def decompressed(path: Path) -> list[dict[str, Any]]:
    content = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    return [json.loads(line) for line in content.splitlines()]


@pytest.fixture(params=["recording.jsonl", "recording.jsonl.zst"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A recording to be made, of both kinds in turn."""
    return tmp_path / request.param


@st.composite
def journeys(draw: st.DrawFn) -> list[Frame]:
    """Frames of connections that take turns, skip indices and begin anew; of any time, and of any bytes."""
    data = st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode))
    where = st.tuples(st.sampled_from([0, 1, 2, 3, START]), st.one_of(st.just(1), st.integers(-3, 5)))
    at = st.integers(0, LATEST_SECONDS * 1_000_000_000 - 1)
    last: dict[int, int] = {}
    frames: list[Frame] = []
    for (connection, step), received_at, payload in draw(st.lists(st.tuples(where, at, data), max_size=30)):
        last[connection] = max(last.get(connection, -1) + step, 0)
        frames.append(Frame(payload, received_at, connection, last[connection]))
    return frames


@unhurried
@given(frames=journeys(), ending=st.sampled_from([".jsonl", ".jsonl.zst"]), most=st.sampled_from([None, 1, 300]))
def test_what_is_written_is_read_again(
    frames: list[Frame], ending: str, most: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("written") / f"recording{ending}"
    with RecordingWriter(path, rotate_bytes=most, flush_seconds=1e-9) as writer:
        for one in frames:
            writer.append(one)
    assert again(path) == frames
    if most is None:
        assert list(read(path)) == [RecordedFrame(one.received_at, one.data) for one in frames]


def test_readers_that_know_only_ts_and_data_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl.zst"
    with RecordingWriter(path) as writer:
        writer.append(frame(0))
        writer.append(frame(1, data=b"\xff\x00"))
        writer.append(frame(5))
    lines = decompressed(path)
    assert [line["data"] for line in lines if "mark" not in line] == ['{"number":0}', "\ufffd\x00", '{"number":5}']
    assert all(isinstance(line["ts"], float) and isinstance(line["data"], str) for line in lines)
    assert {json.loads(line["data"])["type"] for line in lines if "mark" in line} == {"rxbridge_mark"}


def test_a_connection_and_what_is_missing_are_marked(path: Path) -> None:
    with RecordingWriter(path) as writer:
        for one in (frame(0), frame(1), frame(4), frame(0, connection=1007, at=START + 10_000_000_000)):
            writer.append(one)
    assert list(marks(path)) == [
        Mark("connect", 7, 0),
        Mark("gap", 7, 2, since=START + 1_000_000_000, until=START + 4_000_000_000, frames=2),
        Mark("connect", 7, 4),
        Mark("gap", since=START + 4_000_000_000, until=START + 10_000_000_000),
        Mark("connect", 1007, 0),
    ]


def test_a_clock_that_is_set_back_by_more_than_a_file_lasts_begins_the_next_file(tmp_path: Path) -> None:
    frames = [frame(0), frame(1), frame(2, at=START - 3600 * 1_000_000_000), frame(3, at=START - 3599 * 1_000_000_000)]
    with RecordingWriter(tmp_path / "day.jsonl", rotate_seconds=60) as writer:
        append_all(writer, frames)
        assert writer.statistics().files == 2

    assert again(tmp_path / "day.jsonl") == frames


def test_two_writers_of_one_name_leave_each_others_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    with RecordingWriter(path, rotate_seconds=2) as one, RecordingWriter(path, rotate_seconds=2) as other:
        for number in range(6):
            one.append(frame(number))
            other.append(frame(number, connection=8))
        assert one.statistics().files == other.statistics().files == 3

    read_again = again(path)
    for connection in (7, 8):
        of_it = [one for one in read_again if one.connection == connection]
        assert of_it == [frame(number, connection=connection) for number in range(6)]


def test_a_second_line_is_no_gap_and_its_next_connection_is_one_of_its_own(path: Path) -> None:
    with RecordingWriter(path) as writer:
        append_all(
            writer,
            [
                frame(0, connection=1000),
                frame(0, connection=1001, at=START + 1),
                frame(1, connection=1000, at=START + 2),
                frame(0, connection=2001, at=START + 3),
            ],
        )
        assert writer.statistics().gaps == 1

    assert [mark for mark in marks(path) if mark.kind == "gap"] == [Mark("gap", since=START + 1, until=START + 3)]


def test_a_frame_that_looks_like_a_mark_is_a_frame(path: Path) -> None:
    data = b'{"type":"rxbridge_mark","mark":{"kind":"connect","connection":1}}'
    with RecordingWriter(path) as writer:
        writer.append(frame(3, data=data))
    assert again(path) == [frame(3, data=data)]


def test_marks_of_later_versions_mean_nothing(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    path.write_text('{"ts":1,"data":"a"}\n{"ts":2,"data":"","mark":{"kind":"new","what":[1]}}\n{"ts":3,"data":"b"}\n')
    assert [(one.data, one.connection, one.index) for one in again(path)] == [
        (b"a", 1_000_000_000, 0),
        (b"b", 1_000_000_000, 1),
    ]


def test_a_file_is_rotated_by_time_and_each_can_be_read_alone(path: Path) -> None:
    frames = [frame(number) for number in range(25)]
    with RecordingWriter(path, rotate_seconds=10) as writer:
        for one in frames:
            writer.append(one)
        assert (writer.statistics().files, writer.statistics().frames) == (3, 25)
    stem, ending = path.name.split(".", 1)
    files = [path.with_name(f"{stem}-000{number}.{ending}") for number in (1, 2, 3)]
    assert files_of(path) == files
    assert [len(list(read_frames([one]))) for one in files] == [10, 10, 5]
    assert list(read_frames([files[1]])) == frames[10:20]
    assert again(path) == frames


def test_a_file_is_rotated_by_size(path: Path) -> None:
    frames = [frame(number, data=os.urandom(300).hex().encode()) for number in range(40)]
    with RecordingWriter(path, rotate_bytes=2000, flush_seconds=1e-9) as writer:
        for one in frames:
            writer.append(one)
        size = writer.statistics().bytes
    files = files_of(path)
    assert len(files) > 3
    assert all(one.stat().st_size < 4000 for one in files)
    assert size <= sum(one.stat().st_size for one in files)
    assert again(path) == frames


def test_numbers_go_on_and_nothing_is_written_over(path: Path) -> None:
    for connection in (1, 2):
        with RecordingWriter(path, rotate_bytes=10**9) as writer:
            writer.append(frame(0, connection=connection))
    assert [one.connection for one in again(path)] == [1, 2]
    with RecordingWriter(path):
        pass
    with pytest.raises(RecordingError, match="is there already"):
        RecordingWriter(path)


def test_more_than_ten_thousand_files_stand_in_order(tmp_path: Path) -> None:
    for number in (10_000, 9_999, 2):
        (tmp_path / f"day-{number:04d}.jsonl").touch()
    (tmp_path / "day-02.jsonl").touch()
    (tmp_path / "day-0001.jsonl.zst").touch()
    assert [one.name for one in files_of(tmp_path / "day.jsonl")] == [
        "day-0002.jsonl",
        "day-9999.jsonl",
        "day-10000.jsonl",
    ]


def test_a_flush_has_all_in_the_file(path: Path, log: list[str]) -> None:
    writer = RecordingWriter(path, flush_seconds=3600)
    frames = [frame(number) for number in range(100)]
    for one in frames:
        writer.append(one)
    writer.flush()
    assert again(path) == frames
    assert any("cut off" in line for line in log) == path.name.endswith(".zst")
    writer.close()
    writer.close()
    del log[:]
    assert again(path) == frames
    assert not log
    with pytest.raises(RecordingError, match="is closed"):
        writer.append(frame(100))


def test_a_second_after_the_last_flush_a_frame_takes_all_with_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    now = 100.0
    monkeypatch.setattr("rxbridge.recording.writer.time.monotonic", lambda: now)
    writer = RecordingWriter(path)
    writer.append(frame(0))
    assert again(path) == []
    now = 101.0
    writer.append(frame(1))
    assert again(path) == [frame(0), frame(1)]
    writer.close()


@pytest.mark.parametrize("lost", range(1, 60, 7))
def test_a_torn_file_is_read_up_to_the_tear(path: Path, lost: int, log: list[str]) -> None:
    frames = [frame(number, data=os.urandom(20).hex().encode()) for number in range(50)]
    with RecordingWriter(path, flush_seconds=1e-9) as writer:
        for one in frames:
            writer.append(one)
    path.write_bytes(path.read_bytes()[:-lost])
    found = again(path)
    assert found == frames[: len(found)]
    assert len(found) >= 46
    assert any("stopped in the middle" in line for line in log) == (lost > 1 or path.name.endswith(".zst"))


def test_a_torn_file_is_followed_by_the_next(path: Path, log: list[str]) -> None:
    for connection in (1, 2):
        with RecordingWriter(path, rotate_bytes=10**9, flush_seconds=1e-9) as writer:
            writer.append(frame(0, connection=connection))
            writer.append(frame(1, connection=connection))
    first = files_of(path)[0]
    first.write_bytes(first.read_bytes()[:-4])
    assert [(one.connection, one.index) for one in again(path)][-3:] == [(1, 0), (2, 0), (2, 1)] or len(
        again(path)
    ) == 4
    assert len(again(path)) >= 3


class _Full:
    """A disk that is full after so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.write(descriptor, bytes(data[: self.room]))
        self.room -= written
        return written


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> _Full:
    disk = _Full(10**9)
    monkeypatch.setattr("rxbridge.recording.writer.os.write", disk)
    return disk


def test_a_full_disk_says_so_and_what_was_written_can_be_read(path: Path, full_disk: _Full, log: list[str]) -> None:
    writer = RecordingWriter(path, flush_seconds=1e-9)
    writer.append(frame(0))
    writer.append(frame(1))
    full_disk.room = 10
    with pytest.raises(RecordingError, match="No space left on device") as caught:
        append_all(writer, [frame(number, data=os.urandom(30).hex().encode()) for number in range(2, 10)])
    assert caught.value.path == str(path)
    full_disk.room = 10**9
    # Behind a torn line nothing could be read, so nothing is written there, although there is room again.
    with pytest.raises(RecordingError, match="No space left on device"):
        writer.append(frame(3))
    writer.close()
    assert again(path)[:2] == [frame(0), frame(1)]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be made: No such file"):
        RecordingWriter(tmp_path / "absent" / "recording.jsonl")


def test_a_next_file_that_cannot_be_made_ends_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    writer = RecordingWriter(folder / "recording.jsonl", rotate_seconds=1)
    writer.append(frame(0))
    moved = folder.rename(tmp_path / "moved")
    for _ in range(2):
        with pytest.raises(RecordingError, match="cannot be made: No such file or directory"):
            writer.append(frame(5))
    writer.close()
    assert list(read_frames([moved / "recording-0001.jsonl"])) == [frame(0)]


@pytest.mark.parametrize("at", [-1, LATEST_SECONDS * 1_000_000_000])
def test_a_time_that_has_no_place_in_a_recording(path: Path, at: int) -> None:
    with RecordingWriter(path) as writer, pytest.raises(RecordingError, match="cannot hold"):
        writer.append(frame(0, at=at))


@pytest.mark.parametrize("limit", ["rotate_bytes", "rotate_seconds", "flush_seconds"])
def test_limits_are_positive(tmp_path: Path, limit: str) -> None:
    with pytest.raises(ValueError, match="not positive"):
        RecordingWriter(tmp_path / "recording.jsonl", **{limit: 0})


def test_only_a_compressed_recording_needs_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with RecordingWriter(tmp_path / "plain.jsonl") as writer:
        writer.append(frame(0))
    with pytest.raises(MissingExtra, match=r"rxbridge\[recording\]"):
        RecordingWriter(tmp_path / "compressed.jsonl.zst")


@pytest.mark.parametrize("name", ["exchange-2021", "advanced-2026"])
def test_a_real_recording_written_again_is_the_same(
    name: str, real_recording: Callable[[str], Path], tmp_path: Path
) -> None:
    frames = list(read_frames([real_recording(name)]))
    with RecordingWriter(tmp_path / "again.jsonl.zst") as writer:
        for one in frames:
            writer.append(one)
    assert again(tmp_path / "again.jsonl.zst") == frames
