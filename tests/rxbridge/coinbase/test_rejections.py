from __future__ import annotations

from rxbridge.coinbase.rejections import Rejection, Rejections


def test_a_rejection_is_believed_for_its_time() -> None:
    now = 0.0
    rejections = Rejections(retry_seconds=3600.0, clock=lambda: now)
    rejections.remember(Rejection(None, "FOO-USD", "not valid"))
    rejections.remember(Rejection("level2", None, "needs authentication"))
    rejections.remember(Rejection("matches", "ETH-USD", "no"))

    def allowed() -> list[bool]:
        asked = [("ticker", "FOO-USD"), ("level2", "BTC-USD"), ("matches", "ETH-USD")]
        return [rejections.allow(channel, product) for channel, product in asked]

    assert allowed() == [False, False, False]
    assert rejections.allow("ticker", "ETH-USD")
    now = 3599.0
    assert allowed() == [False, False, False]
    now = 3600.0
    assert allowed() == [True, True, True]


def test_each_rejection_is_told_once_and_safely() -> None:
    rejections = Rejections()
    rejections.remember(Rejection(None, "FOO-USD", "not\nvalid"))
    rejections.remember(Rejection("matches", "ETH-USD", "no"))
    assert list(map(str, rejections.take_untold())) == [r"'FOO-USD': 'not\nvalid'", "'matches' of 'ETH-USD': 'no'"]
    assert rejections.take_untold() == []


def test_what_is_wanted_no_longer_is_forgotten_and_channels_are_not() -> None:
    rejections = Rejections()
    for rejection in (Rejection(None, "FOO-USD", "no"), Rejection("ticker", "ETH-USD", "no")):
        rejections.remember(rejection)
    rejections.remember(Rejection("level2", None, "no"))
    rejections.remember(Rejection("heartbeats", "heartbeats", "no"))
    rejections.forget_all_but(["ETH-USD"])
    assert rejections.allow("ticker", "FOO-USD")
    assert not rejections.allow("ticker", "ETH-USD")
    assert not rejections.allow("level2", "BTC-USD")
    assert not rejections.allow("heartbeats", "heartbeats")
