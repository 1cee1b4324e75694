"""(a) A bare websocket-client receive loop: no parsing, no sink. What any bridge on this library pays at least.

python -m benchmarks.contenders.receive_loop FEED_URL COUNT
"""

from __future__ import annotations

import sys
import time
from array import array

import websocket

from benchmarks.frames import subscription
from benchmarks.pipes import tell, wait_for_go


def main() -> None:
    feed = websocket.create_connection(sys.argv[1], skip_utf8_validation=True)
    feed.send(subscription(["ticker"]))
    feed.recv()  # the acknowledgement
    times = array("d")
    for _ in range(int(sys.argv[2])):
        feed.recv()
        times.append(time.monotonic())
    tell(complete=times[-1])
    if wait_for_go():
        tell(numbers=list(range(len(times))), times=list(times), repeated=0, requests=0)
    wait_for_go()


if __name__ == "__main__":
    main()
