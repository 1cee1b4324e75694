"""Reading recordings: exact to the microsecond, one line at a time, and clear about what is wrong where."""

import json
import os
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.errors import MissingExtra, RecordingError
from rxbridge.recording import RecordedFrame, read
from rxbridge.recording.chunks import COMPRESSED_CHUNK_BYTES

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


FRAMES = [
    (1_700_000_000.25, '{"type":"match","trade_id":1}'),
    (1_700_000_000.250001, '{"type":"subscriptions","note":"Grüße, 東京 \\ud83d\\ude00"}'),
    (1_700_000_001, "no JSON at all\nin two lines"),
]


def lines_of(frames: Iterable[tuple[float, str]]) -> bytes:
    return b"".join(json.dumps({"ts": ts, "data": data}).encode() + b"\n" for ts, data in frames)


def compressed(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


@pytest.fixture(params=["plain", "compressed"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes lines to a recording, of both kinds in turn."""

    def write(content: bytes) -> Path:
        if request.param == "plain":
            path = tmp_path / "recording.jsonl"
            path.write_bytes(content)
        else:
            path = tmp_path / "recording.jsonl.zst"
            path.write_bytes(compressed(content))
        return path

    return write


def test_frames_come_in_order_with_their_very_bytes(write: Callable[[bytes], Path]) -> None:
    assert list(read(write(lines_of(FRAMES)))) == [
        RecordedFrame(1_700_000_000_250_000_000, FRAMES[0][1].encode()),
        RecordedFrame(1_700_000_000_250_001_000, FRAMES[1][1].encode()),
        RecordedFrame(1_700_000_001_000_000_000, FRAMES[2][1].encode()),
    ]


@pytest.mark.parametrize("content", [b"", b"\n", b"\n \n\n"])
def test_a_recording_without_frames_is_empty(write: Callable[[bytes], Path], content: bytes) -> None:
    assert list(read(write(content))) == []


def test_the_last_line_needs_no_end(write: Callable[[bytes], Path]) -> None:
    assert len(list(read(write(lines_of(FRAMES).rstrip(b"\n"))))) == len(FRAMES)


def test_a_path_may_be_text(write: Callable[[bytes], Path]) -> None:
    assert len(list(read(str(write(lines_of(FRAMES)))))) == len(FRAMES)


@unhurried
@given(microseconds=st.integers(min_value=0, max_value=4_000_000_000_000_000))
def test_no_microsecond_is_lost(microseconds: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("time") / "recording.jsonl"
    path.write_bytes(lines_of([(microseconds / 1_000_000, "")]))
    assert [frame.received_at for frame in read(path)] == [microseconds * 1000]


def test_long_lines_survive_any_number_of_chunks(write: Callable[[bytes], Path]) -> None:
    # Random digits hardly compress, so this spans several chunks of the file in either form.
    data = str(int.from_bytes(os.urandom(COMPRESSED_CHUNK_BYTES * 12)) % 10**4000) * 60
    frames = list(read(write(lines_of([(1, data), (2, "short"), (3, data[::-1])]))))
    assert [frame.data.decode() for frame in frames] == [data, "short", data[::-1]]


def test_memory_does_not_grow_with_the_recording(write: Callable[[bytes], Path]) -> None:
    path = write(lines_of((number, f"{number:04d}" * 500) for number in range(4000)))
    tracemalloc.start()
    try:
        assert sum(len(frame.data) for frame in read(path)) == 4000 * 2000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"not json", "malformed"),
        (b'{"ts":1,"data":"cut off', "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"data":"x"}', "`ts`"),
        (b'{"ts":1}', "`data`"),
        (b'{"ts":null,"data":"x"}', "$.ts"),
        (b'{"ts":1,"data":{"type":"match"}}', "$.data"),
        (b'{"ts":1,"data":"\xff"}', "utf-8"),
        (b'{"ts":-1,"data":"x"}', "no Unix time"),
        (b'{"ts":"NaN","data":"x"}', "no Unix time"),
        (b'{"ts":1e999999999,"data":"x"}', "no Unix time"),
        (b'{"ts":1700000000250,"data":"milliseconds"}', "no Unix time"),
    ],
)
def test_a_bad_line_is_named_after_the_good_ones_before_it(
    write: Callable[[bytes], Path], line: bytes, problem: str
) -> None:
    path = write(lines_of(FRAMES) + b"\n" + line + b"\n" + lines_of(FRAMES))
    frames = read(path)
    assert len(list(islice(frames, len(FRAMES)))) == len(FRAMES)
    with pytest.raises(RecordingError) as caught:
        next(frames)
    assert caught.value.path == str(path)
    assert caught.value.line == len(FRAMES) + 2
    assert problem in str(caught.value)
    assert f"{path}, line {len(FRAMES) + 2}: " in str(caught.value)


def test_several_compressed_frames_make_one_recording(tmp_path: Path) -> None:
    path = tmp_path / "appended.jsonl.zst"
    content = lines_of(FRAMES)
    path.write_bytes(compressed(content[:50]) + compressed(content[50:]) + compressed(b"") + compressed(content))
    assert len(list(read(path))) == 2 * len(FRAMES)


def test_a_compressed_recording_that_is_cut_off_is_no_shorter_recording(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.zst"
    # Flushed blocks: what a recorder that was killed leaves behind.
    compressor = zstandard.ZstdCompressor().compressobj()
    begun = compressor.compress(lines_of(FRAMES)) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    path.write_bytes(begun)
    frames = read(path)
    assert len(list(islice(frames, len(FRAMES)))) == len(FRAMES)
    with pytest.raises(RecordingError, match="cut off") as caught:
        next(frames)
    assert caught.value.line == len(FRAMES) + 1


def test_damage_inside_a_compressed_recording_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "damaged.jsonl.zst"
    path.write_bytes(compressed(lines_of(FRAMES)) + b"this is no zstd")
    frames = read(path)
    with pytest.raises(RecordingError, match="damaged"):
        list(frames)


def test_a_plain_recording_by_a_compressed_name_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl.zst"
    path.write_bytes(lines_of(FRAMES))
    with pytest.raises(RecordingError, match="line 1: damaged"):
        list(read(path))


@pytest.mark.parametrize("name", ["absent.jsonl", "absent.jsonl.zst"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError, match="No such file") as caught:
        list(read(tmp_path / name))
    assert caught.value.line is None


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    with pytest.raises(RecordingError, match="cannot be read"):
        list(read(folder))


@pytest.mark.parametrize("name", ["frames.json", "frames.zst", "jsonl"])
def test_another_ending_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordingError, match="ends neither"):
        read(tmp_path / name)


def test_only_a_compressed_recording_needs_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(lines_of(FRAMES))
    assert len(list(read(plain))) == len(FRAMES)
    with pytest.raises(MissingExtra) as caught:
        read(tmp_path / "compressed.jsonl.zst")
    assert (caught.value.package, caught.value.extra) == ("zstandard", "recording")


@pytest.mark.parametrize(("name", "count"), [("exchange-2021", 5906), ("advanced-2026", 649)])
def test_real_recordings(name: str, count: int, real_recording: Callable[[str], Path]) -> None:
    frames = list(read(real_recording(name)))
    assert len(frames) == count
    assert all(isinstance(json.loads(frame.data), dict) for frame in frames)
    assert frames[-1].received_at - frames[0].received_at > 10_000_000_000
