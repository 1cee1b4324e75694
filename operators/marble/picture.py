"""`marble`: a run of an observable as a picture."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from math import inf
from typing import Any, cast, overload

from reactivex import Observable

from operators.marble.calls import call_text
from operators.marble.faces import Faces, label_of
from operators.marble.layout import lay_out
from operators.marble.live import look_at
from operators.marble.svg import draw
from operators.testing.run import Lane, Run
from operators.testing.virtual_time import VirtualTime

_MOST_TOLD = 40
"""After so many moments of a lane the description says how many more there are."""

Build = Callable[[VirtualTime], Observable[Any]]
"""Makes an observable on virtual time, and its sources."""


class Marble:
    """A picture of a run; notebooks show it.

    Attributes:
        run: What it shows.
        call: The text of the operators.
        title: What it is called.
    """

    def __init__(
        self,
        run: Run[Any],
        *,
        call: str = "",
        title: str = "",
        label: Callable[[Any], str] | None = None,
        colour: Callable[[Any], Hashable] | None = None,
    ) -> None:
        self.run = run
        self.call = call
        self.title: str = title or f"Marble diagram of {call.partition('(')[0] or 'an observable'}"
        self._label = label
        self._colour = colour

    def svg(self) -> str:
        """The picture as an SVG document; the same run gives the same text."""
        faces = Faces(self._label, self._colour)
        return draw(lay_out(self.run, self.call, faces), self.title, self.description())

    def description(self) -> str:
        """The picture in words, for those who do not see it."""
        lanes = [*self.run.sources, *self.run.below]
        through = f" Through {' '.join(self.call.split())}." if self.call else ""
        return " ".join(self._in_words(lane) for lane in lanes) + through

    def _in_words(self, lane: Lane[Any]) -> str:
        words = list(self._moments(lane))
        shown = ", ".join(words[:_MOST_TOLD])
        more = f" and {len(words) - _MOST_TOLD} more" if len(words) > _MOST_TOLD else ""
        return f"{lane.name}: {shown or 'nothing'}{more}."

    def _moments(self, lane: Lane[Any]) -> Iterable[str]:
        for moment in lane.timeline:
            what = f"fails with {moment.error}" if moment.error is not None else "completes"
            if moment.kind == "item":
                what = (self._label or label_of)(moment.value)
            yield f"{what} at {moment.time:g} s"

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"<{self.title}: {self.description()}>"


@overload
def marble(
    observed: Observable[Any] | Run[Any] | Build,
    /,
    *,
    clock: VirtualTime | None = None,
    call: str | None = None,
    title: str = "",
    label: Callable[[Any], str] | None = None,
    colour: Callable[[Any], Hashable] | None = None,
    dispose: float = inf,
    until: float = inf,
    seconds: float | None = None,
) -> Marble: ...
@overload
def marble(
    *,
    call: str | None = None,
    title: str = "",
    label: Callable[[Any], str] | None = None,
    colour: Callable[[Any], Hashable] | None = None,
    dispose: float = inf,
    until: float = inf,
) -> Callable[[Build], Marble]: ...
def marble(
    observed: Observable[Any] | Run[Any] | Build | None = None,
    /,
    *,
    clock: VirtualTime | None = None,
    call: str | None = None,
    title: str = "",
    label: Callable[[Any], str] | None = None,
    colour: Callable[[Any], Hashable] | None = None,
    dispose: float = inf,
    until: float = inf,
    seconds: float | None = None,
) -> Marble | Callable[[Build], Marble]:
    """Run an observable, and draw what happened: on virtual time, or live for some `seconds`.

    The best is a function of the clock that returns the observable: its sources are drawn, and the text of the
    operators is read from its code. So it may be a decorator, and what it decorates becomes the picture. An observable
    of the library's that needs no scheduler of its own, such as `reactivex.interval(1)`, can be given as it is.

    Example:
        >>> import reactivex
        >>> from reactivex import operators as ops
        >>> @marble
        ... def doubled(clock):
        ...     return clock.cold("1-2-3|").pipe(ops.map(lambda number: 2 * number))
        >>> doubled.description().partition(". ")[0]
        'source: 1 at 0 s, 2 at 2 s, 3 at 4 s, completes at 5 s'
        >>> doubled.svg().startswith("<svg")
        True
        >>> marble(reactivex.interval(1), until=3)
        <Marble diagram of an observable: result: 0 at 1 s, 1 at 2 s, 2 at 3 s.>

    Args:
        observed: The observable, a function that makes it, or a run that has been made of it.
        clock: Where the sources of an observable are; a new one if it has none.
        call: The text of the operators, one a line, in place of what the code says.
        title: What the picture is called, for those who do not see it.
        label: The text of an item; by default a trade's price, a quote's prices, or the item itself.
        colour: What makes items of one colour; by default the product, or the item itself. None is the lane's colour.
        dispose: When to dispose the subscription, in seconds.
        until: When to stop looking. Needed for an observable without end.
        seconds: How long to look at an observable that goes by the computer's clock, such as a feed; the call takes as
            long, or until the observable ends.

    Raises:
        RuntimeError: The observable has no end, and `until` is not given.
        TypeError: What is given is none of the three, or the function gives no observable.
    """

    def picture(one: Observable[Any] | Run[Any] | Build) -> Marble:
        time, text = clock or VirtualTime(), ""
        if isinstance(one, Run):
            run = cast("Run[Any]", one)
        elif isinstance(one, Observable):
            observable = cast("Observable[Any]", one)
            run = (
                time.run(observable, dispose=dispose, until=until) if seconds is None else look_at(observable, seconds)
            )
        else:
            run, text = time.run(_made(one, time), dispose=dispose, until=until), call_text(one)
        return Marble(run, call=text if call is None else call, title=title, label=label, colour=colour)

    return picture if observed is None else picture(observed)


def _made(build: Build, time: VirtualTime) -> Observable[Any]:
    if not callable(build):  # pyright: ignore[reportUnnecessaryComparison] a notebook has no type checker
        raise TypeError(f"marble draws an Observable, a function that makes one, or a run, not {type(build).__name__}")
    made = build(time)
    if not isinstance(made, Observable):  # pyright: ignore[reportUnnecessaryIsInstance] likewise
        name, given = getattr(build, "__qualname__", type(build).__name__), type(made).__name__
        raise TypeError(f"{name} gives no Observable, and so no run to draw, but {given}: return source.pipe(...)")
    return made
