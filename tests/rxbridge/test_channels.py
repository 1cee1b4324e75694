from __future__ import annotations

import pytest

from rxbridge.channels import CHANNELS, FeedName, canonical, wire_name


@pytest.mark.parametrize(
    ("written", "feed", "name", "on_wire"),
    [
        ("ticker", "exchange", "ticker", "ticker"),
        ("ticker_batch", "advanced", "ticker_batch", "ticker_batch"),
        ("trades", "exchange", "matches", "matches"),
        ("matches", "advanced", "matches", "market_trades"),
        ("market_trades", "exchange", "matches", "matches"),
        ("heartbeats", "exchange", "heartbeat", "heartbeat"),
        ("heartbeat", "advanced", "heartbeat", "heartbeats"),
        ("candles", "advanced", "candles", "candles"),
        ("level2", "exchange", "level2", "level2_batch"),
        ("level2_batch", "advanced", "level2", "level2"),
        ("status", "exchange", "status", "status"),
        ("status", "advanced", "status", "status"),
        ("auction", "exchange", "auctionfeed", "auctionfeed"),
    ],
)
def test_a_channel_has_one_name_however_it_is_written(written: str, feed: FeedName, name: str, on_wire: str) -> None:
    assert canonical(written, feed) == name
    assert wire_name(written, feed) == wire_name(name, feed) == on_wire


@pytest.mark.parametrize("feed", ["exchange", "advanced"])
def test_no_word_means_two_channels(feed: FeedName) -> None:
    words = [word for channel in CHANNELS for word in (channel.name, *channel.aliases)]
    on_wire = [channel.on_wire[feed] for channel in CHANNELS if feed in channel.on_wire]
    assert len(set(words)) == len(words)
    assert len(set(on_wire)) == len(on_wire)
    assert {canonical(name, feed) for name in on_wire} == {c.name for c in CHANNELS if feed in c.on_wire}


@pytest.mark.parametrize(
    ("written", "feed", "words"),
    [
        ("tickr", "exchange", r"^unknown channel 'tickr'; did you mean 'ticker'\?$"),
        ("market_trade", "advanced", r"^unknown channel 'market_trade'; did you mean 'market_trades'\?$"),
        ("xyz", "exchange", r"^unknown channel 'xyz'; known are .*matches, .*ticker, ticker_batch, trades$"),
        ("candles", "exchange", r"^the feed 'exchange' has no channel 'candles'; known are .*ticker"),
        ("candle", "exchange", r"^unknown channel 'candle'; did you mean 'candles'\?$"),
    ],
)
def test_what_a_feed_does_not_have_is_told_with_what_it_has(written: str, feed: FeedName, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        canonical(written, feed)
    with pytest.raises(ValueError, match=words):
        wire_name(written, feed)
