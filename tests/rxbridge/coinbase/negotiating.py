"""Plays a subscription to its end, against whoever answers its messages, in a time of its own."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from hypothesis import strategies as st

from rxbridge.coinbase.actions import Action, Send
from rxbridge.coinbase.answers import Answer
from rxbridge.coinbase.subscription import Subscription
from rxbridge.coinbase.wanted import Wanted


def verdicts_of(machine: Subscription, answer: Callable[[Wanted], Answer], data: st.DataObject) -> list[Action]:
    """All that it decides but the messages, which must keep their distance.

    Args:
        machine: Begins with messages 0.25 s apart.
        answer: The answer to what a message wants.
        data: Draws how long an answer takes.
    """
    now, sent_at = 0.0, -inf
    verdicts: list[Action] = []
    actions = machine.start(now)
    while actions or machine.deadline < inf:
        sends = [action for action in actions if isinstance(action, Send)]
        verdicts += [action for action in actions if not isinstance(action, Send)]
        if sends:
            (send,) = sends
            assert now >= sent_at + 0.25
            sent_at = now
            now += data.draw(st.sampled_from([0.0, 0.1, 1.0]))
            actions = machine.on_answer(answer(send.wanted), now)
        else:
            now = max(now, machine.deadline)
            actions = machine.on_time(now) if machine.deadline < inf else []
    return verdicts
