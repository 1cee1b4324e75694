"""Marble diagrams drawn from real runs: what the picture shows is what the operators did.

    from operators.marble import marble

    @marble
    def conflated(clock):
        source = clock.cold("a1-a2-a3-b1-----a4-|")
        return source.pipe(conflate(6, lambda quote: quote[0], scheduler=clock))

In a notebook the picture is the cell's display; `.svg()` is it as text, for a document. Only the standard library.
"""

from operators.marble.picture import Marble, marble

__all__ = ["Marble", "marble"]
