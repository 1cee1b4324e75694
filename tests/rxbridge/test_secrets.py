"""The key is in no log line, error, traceback, view of the settings, address or list of processes."""

from __future__ import annotations

import copy
import pickle
import pprint
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from rxbridge.config import Settings, load
from rxbridge.errors import ConfigError, DeliveryError
from rxbridge.events import encode, to_event
from rxbridge.messages import Trade
from rxbridge.pulsestream.client import PulseStreamClient
from tests.rxbridge.parrot import FORMS, Parrot, answers, traces

KEY = "pk_Live-9fQ2+zT7/wR~4&xK8<vB1>nM"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and all that it came from or came up with."""
    seen: set[int] = set()
    left = [error]
    while left:
        one = left.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        left += [one.__cause__, one.__context__]


def require_untold(*texts: str) -> None:
    for text in texts:
        for trace in traces(KEY):
            assert trace not in text.lower(), (trace, text[:2000])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    loaded = load(environment={"PULSESTREAM_API_KEY": KEY})
    from_file = load(environment={"PULSESTREAM_API_KEY_FILE": str(path)})
    assert loaded.pulsestream.secret() == from_file.pulsestream.secret() == KEY
    return loaded


def test_no_view_of_the_settings_shows_it(settings: Settings) -> None:
    section = settings.pulsestream
    changed = section.model_copy(update={"read_timeout_seconds": 1.0})
    for one in (settings, section, changed, copy.copy(section), copy.deepcopy(section)):
        require_untold(repr(one), str(one), f"{one}", pprint.pformat(one), str(vars(one)), pprint.pformat(vars(one)))
    require_untold(section.model_dump_json(), str(section.model_dump()), str(section.model_dump(mode="json")))
    require_untold(str(dict(section)), str(list(section)), "\n".join(settings.shown().values()))
    assert changed.secret() == KEY


def test_settings_are_not_written_to_a_file_or_sent_to_another_process(settings: Settings) -> None:
    for one in (settings, settings.pulsestream):
        with pytest.raises(TypeError, match="key"):
            pickle.dumps(one)


def test_a_mistake_in_the_settings_does_not_tell_it(tmp_path: Path) -> None:
    path = tmp_path / "rxbridge.toml"
    for text in (
        f'[pulsestream]\nkey = ["{KEY}"]\n',
        f'[pulsestream]\nkey = "{KEY}\n',
        f'[pulsestream]\nkye = "{KEY}"\n',
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as raised:
            load(path, environment={})
        require_untold(*("".join(traceback.format_exception(one)) for one in chain(raised.value)))
    with pytest.raises(ConfigError) as both:
        load(environment={"PULSESTREAM_API_KEY": KEY, "PULSESTREAM_API_KEY_FILE": "x"})
    require_untold(*("".join(traceback.format_exception(one)) for one in chain(both.value)))
    for url in (f"http://{KEY}@host", f"http://host/?key={KEY}", f"http://[{KEY}"):
        with pytest.raises(ConfigError) as address:
            PulseStreamClient(url, KEY)
        require_untold(str(address.value))


@pytest.mark.parametrize("form", FORMS)
def test_no_error_tells_it_whatever_a_server_says(form: str) -> None:
    event = encode(to_event(Trade(product_id="BTC-USD", trade_id=1, price="1", size="1")), 1)
    errors: list[DeliveryError] = []
    with Parrot([form]) as parrot, PulseStreamClient(parrot.url, KEY, read_timeout_seconds=5.0) as client:
        while not parrot.rounds:
            try:
                answer = client.post_batch([event])
            except DeliveryError as error:
                errors.append(error)
            else:
                require_untold(*(" ".join(outcome.reasons) for outcome in answer.outcomes))
        require_untold(repr(client), str(vars(client)), repr(client._transport), str(vars(client._transport)))
    assert parrot.keys == {KEY}
    assert len(errors) >= len(answers("")) - 2
    for error in errors:
        links = list(chain(error))
        require_untold("".join(traceback.format_exception(error)))
        for link in links:
            require_untold(str(link), repr(link), str(vars(link)), str(link.args))
            assert getattr(link, "request", None) is None, "a request holds the key in its headers"


def test_no_traceback_tells_it_even_with_the_values_of_all_variables() -> None:
    """Some tools send such a one to others."""
    with (
        Parrot(["plain"], lambda _: [b"", b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"]) as parrot,
        PulseStreamClient(parrot.url, KEY, read_timeout_seconds=5.0) as client,
    ):
        for _ in range(4):
            with pytest.raises(DeliveryError) as raised:
                client.check()
            for link in chain(raised.value):
                shown = traceback.TracebackException.from_exception(link, capture_locals=True)
                require_untold("".join(shown.format()))
