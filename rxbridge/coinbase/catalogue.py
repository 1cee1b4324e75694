"""Which products Coinbase has, and which of them a list of ids and wildcards means.

https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-all-known-trading-pairs
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Annotated, TypeAlias

import msgspec

from rxbridge.errors import ConfigError, RestFailed, quoted

MOST_BYTES = 8 * 2**20
"""The longest answer that is read. Coinbase's thousand products take half a megabyte."""

_MOST_PRODUCTS = 20_000
_MOST_TOLD = 10
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRADING = ("online", "")
"""`status` of what trades. One that does not say is asked for: the feed refuses what it does not have."""


class Product(msgspec.Struct, frozen=True, gc=False):
    """A product as REST lists it.

    Attributes:
        id: Such as BTC-USD.
        status: `online`, `offline`, `internal` or `delisted` in Coinbase's words; empty where it does not say.
        trading_disabled: Whether trading is halted.
    """

    id: str
    status: str = ""
    trading_disabled: bool = False

    @property
    def delisted(self) -> bool:
        """Whether it is gone for good."""
        return self.status == "delisted"

    @property
    def idle(self) -> str:
        """Why it does not trade; empty if it does."""
        if self.delisted:
            return "delisted"
        if self.status not in _TRADING:
            return f"status {quoted(self.status)}"
        return "trading is disabled" if self.trading_disabled else ""


Catalogue: TypeAlias = Mapping[str, Product]
"""All products by their id."""


class Resolution(msgspec.Struct, frozen=True):
    """What a list of ids and wildcards means.

    Attributes:
        products: To subscribe to: those named first, in their order, then what wildcards match, by id.
        delisted: Named, and gone for good: the reason. Not in `products`.
        unknown: Named, or a wildcard that matches nothing that trades: the nearest known words. Not in `products`.
        paused: Named, and not traded at the moment: the reason. In `products`, for it may go on any time.
        passed_over: Matched by a wildcard, and not traded: the reason. Not in `products`.
    """

    products: tuple[str, ...]
    delisted: dict[str, str]
    unknown: dict[str, tuple[str, ...]]
    paused: dict[str, str]
    passed_over: dict[str, str]

    def problems(self) -> dict[str, str]:
        """In a sentence each what is wrong with a word of the list, by the word."""
        gone = {name: f"{quoted(name)} is {reason}, and left out" for name, reason in self.delisted.items()}
        unknown = {word: _unknown(word, near) for word, near in self.unknown.items()}
        return gone | unknown

    def require_some(self, asked: Sequence[str]) -> None:
        """Fail if there is nothing to subscribe to.

        Raises:
            ConfigError: There is nothing; it says why, and what to do.
        """
        if not self.products:
            why = "; ".join([*self.problems().values()][:_MOST_TOLD])
            problem = f"nothing that trades is left of {quoted(', '.join(asked))}: {why}"
            raise ConfigError("feed.products", problem, "`rxbridge products all` lists what trades")


def is_wildcard(word: str) -> bool:
    """Whether a word of the list means what matches it, such as `*-USD` or `all`, and not the product of that id."""
    return "*" in word or "?" in word or word.lower() == "all"


def resolve(
    asked: Sequence[str], catalogue: Catalogue, *, held: Collection[str] = (), keep_named: bool = False
) -> Resolution:
    """What a list of ids and wildcards means.

    In a wildcard `*` stands for any characters, `?` for one, whether small or capital; `all` is `*`. It matches only
    products that trade. Ids are taken as they are.

    Args:
        asked: Ids and wildcards.
        catalogue: The products that there are.
        held: What a wildcard has matched before, and keeps for as long as it is not delisted: a halt is no end.
        keep_named: Whether ids stay whatever the catalogue says, such as where the feed has products that it has not.
    """
    words = tuple(dict.fromkeys(asked))
    named = [word for word in words if not is_wildcard(word)]
    listed = {word: catalogue[word] for word in named if word in catalogue}
    delisted = {} if keep_named else {word: product.idle for word, product in listed.items() if product.delisted}
    unknown = {} if keep_named else {word: nearest(word, catalogue) for word in named if word not in listed}
    wanted: dict[str, None] = {}
    passed_over: dict[str, str] = {}
    for wildcard in filter(is_wildcard, words):
        matched = matching(wildcard, catalogue)
        fit = [one.id for one in matched if not one.idle or (one.id in held and not one.delisted)]
        if not fit:
            unknown[wildcard] = nearest(wildcard, catalogue)
        wanted |= dict.fromkeys(name for name in fit if name not in named)
        passed_over |= {one.id: one.idle for one in matched if one.id not in fit and one.id not in named}
    return Resolution(
        products=(*(word for word in named if word not in delisted and word not in unknown), *sorted(wanted)),
        delisted=delisted,
        unknown=unknown,
        paused={word: one.idle for word, one in listed.items() if one.idle and not one.delisted},
        passed_over=dict(sorted(passed_over.items())),
    )


def matching(word: str, catalogue: Catalogue) -> list[Product]:
    """The products that a word of the list is about, by id, whether they trade or not."""
    if not is_wildcard(word):
        return [catalogue[word]] if word in catalogue else []
    # Brackets mean something to `fnmatch`, and nothing to us.
    pattern = "*" if word.lower() == "all" else word.upper().replace("[", "[[]")
    return [catalogue[name] for name in sorted(catalogue) if fnmatchcase(name.upper(), pattern)]


def nearest(word: str, catalogue: Catalogue) -> tuple[str, ...]:
    """At most three words that mean something and are spelled nearly like this one, the nearest first."""
    ids = [product.id for product in catalogue.values() if not product.idle]
    known = set(ids)
    if is_wildcard(word):
        pairs = [name.partition("-") for name in ids]
        known = {f"*-{quote}" for _, _, quote in pairs} | {f"{base}-*" for base, _, _ in pairs}
    return tuple(get_close_matches(word.upper(), sorted(known), n=3, cutoff=0.75))


def parse(url: str, body: bytes) -> dict[str, Product]:
    """The products of an answer to `GET /products`, by id. A record without a usable id is left out.

    Raises:
        RestFailed: It is no list, or there is not one product in it.
    """
    try:
        records = _LIST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RestFailed(url, f"no list of products ({error}): {quoted(body, 80)}", status=HTTPStatus.OK) from error
    catalogue = {product.id: product for record in records if (product := _product(record)) is not None}
    if not catalogue:
        # Not even at its end would Coinbase list none; somebody on the way says this.
        raise RestFailed(url, f"no product in its list: {quoted(body, 80)}", status=HTTPStatus.OK)
    return catalogue


class _Record(msgspec.Struct, gc=False):
    id: str
    status: object = None
    trading_disabled: object = None


_LIST = msgspec.json.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=_MOST_PRODUCTS)])
_RECORD = msgspec.json.Decoder(_Record)


def _product(raw: msgspec.Raw) -> Product | None:
    try:
        record = _RECORD.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # It is then unknown, and who asked for it is told so.
        return None
    if not _ID.fullmatch(record.id):
        return None
    status = record.status.strip().lower() if isinstance(record.status, str) else ""
    return Product(record.id, status, record.trading_disabled is True)


def _unknown(word: str, near: tuple[str, ...]) -> str:
    what = "matches no product that trades" if is_wildcard(word) else "is no product of Coinbase's"
    return f"{quoted(word)} {what}" + (f" (did you mean {' or '.join(near)}?)" if near else "")
