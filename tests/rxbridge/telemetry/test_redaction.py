"""A secret is found in whichever way a server may send it back."""

import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.telemetry.redaction import HIDDEN, Redactor

KEY = "pk-Zm9v/4+kE~ß\"7'\\q&xL2"

WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON in UTF-8": lambda key: json.dumps(key, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda key: json.dumps(json.dumps(key)[1:-1])[1:-1],
    "all escaped": lambda key: "".join(f"\\u{ord(character):04x}" for character in key),
    "all escaped, in upper case": lambda key: "".join(f"\\u{ord(character):04X}" for character in key),
    "Python": lambda key: repr(key)[1:-1],
    "Python in JSON": lambda key: json.dumps(repr(key)[1:-1])[1:-1],
    "address": quote,
    "part of an address": lambda key: quote(key, safe=""),
    "part of an address, in lower case": lambda key: quote(key, safe="").lower(),
    "form": quote_plus,
    "all percent": lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
    "HTML": html.escape,
    "hexadecimal": lambda key: key.encode().hex(),
    "UTF-8 read as Latin-1": lambda key: key.encode().decode("latin-1"),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of more": lambda key: base64.b64encode(f"user:{key}; and so on".encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(f"k={key}".encode()).decode(),
}


@pytest.mark.parametrize("form", WRITTEN)
def test_a_secret_is_hidden_however_it_is_written(form: str) -> None:
    written = WRITTEN[form](KEY)

    hidden = Redactor([KEY])(f"before <{written}> after")

    assert HIDDEN in hidden
    assert hidden.startswith("before <")
    assert hidden.endswith("> after")
    # What base64 has of the bytes beside the secret may stay, and up to a character of the secret's own at each end.
    assert len(hidden) < len("before <> after") + len(HIDDEN) + (26 if "base64" in form else 1)


@given(
    key=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), min_size=12, max_size=60),
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    form=st.sampled_from(sorted(WRITTEN)),
)
def test_nothing_of_a_secret_is_left(key: str, before: str, after: str, form: str) -> None:
    written = WRITTEN[form](key)

    hidden = Redactor([key])(before + written + after)

    assert HIDDEN in hidden
    assert written not in hidden.replace(HIDDEN, "")


@given(cut=st.integers(12, 40), form=st.sampled_from([str, str.upper, lambda key: quote(key, safe="")]))
def test_the_beginning_of_a_long_secret_is_hidden_where_a_text_was_cut_off(
    cut: int, form: Callable[[str], str]
) -> None:
    key = "Kq3-9f_aLm2/Zt7+Rw0~Xc5.Vb8!Ns1"

    hidden = Redactor([key])(f"{form(key)[:cut]}…")

    assert hidden.startswith(HIDDEN)
    assert not any(part in hidden for part in ("9f_aLm", "Zt7", "Rw0"))


def test_a_short_secret_is_hidden_as_a_whole_only() -> None:
    assert Redactor(["pulsestream-key"])("PulseStream at pulsestream-k says pulsestream-key.") == (
        "PulseStream at pulsestream-k says (hidden)."
    )


def test_of_several_secrets_each_is_hidden_and_of_overlapping_ones_both() -> None:
    redact = Redactor(["a-first-secret", "secret-and-more", ""])

    assert redact("a-first-secret secret-and-more") == "(hidden) (hidden)"
    assert redact("xa-first-secret-and-morex").startswith("x(hidden)")
    assert "first" not in redact("a-first-secret-and-more")


def test_text_without_secrets_stays_as_it_is() -> None:
    assert Redactor([])("anything") == "anything"
    assert Redactor(["secret"])("anything") == "anything"


def test_half_a_surrogate_pair_in_a_secret_does_no_harm() -> None:
    assert Redactor(["a-\udcff-secret"])("it is a-\udcff-secret") == "it is (hidden)"


def test_a_text_full_of_beginnings_takes_linear_time() -> None:
    redact = Redactor(["ab" * 30])

    def seconds(length: int) -> float:
        best = 1e9
        for _ in range(3):
            # Of this thread alone, whatever else is at work meanwhile.
            began = time.thread_time()
            redact("ababababababx" * length)
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(5_000) < 50 * seconds(500) + 0.05
