"""Where the search begins: small frames and answers, written after the protocols, and words to make others of."""

from __future__ import annotations

TICKER = (
    b'{"type":"ticker","sequence":7,"product_id":"BTC-USD","price":"100.5","open_24h":"99","volume_24h":"1.25",'
    b'"low_24h":"90","high_24h":"120","volume_30d":"5","best_bid":"100.4","best_bid_size":"1","best_ask":"100.6",'
    b'"best_ask_size":"2","side":"buy","time":"2026-01-31T08:00:00.123456Z","trade_id":42,"last_size":"0.5"}'
)
MATCH = (
    b'{"type":"match","trade_id":43,"maker_order_id":"a","taker_order_id":"b","side":"sell","size":"0.01",'
    b'"price":"100.5","product_id":"BTC-USD","sequence":8,"time":"2026-01-31T08:00:00.5Z"}'
)
FRAMES = (
    TICKER,
    MATCH,
    MATCH.replace(b'"match"', b'"last_match"'),
    b'{"type":"ticker","product_id":"NEW-USD","price":"0"}',
    b'{"type":"heartbeat","sequence":9,"last_trade_id":0,"product_id":"BTC-USD","time":"2026-01-31T08:00:01Z"}',
    b'{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USD","ETH-USD"],"account_ids":null}]}',
    b'{"type":"error","message":"Failed to subscribe","reason":"X-USD is not a valid product"}',
    b'{"type":"snapshot","product_id":"BTC-USD","bids":[["1","2"]],"asks":[]}',
    b'{"type":"l2update","changes":[["buy","1","0.00"]]}',
    b'["change","2c5",12.5,[]]',
    b'{"type":"activate","timestamp":"1483736448.299000"}',
    (
        b'{"type":"status","products":[{"id":"BTC-USD","status":"online","status_message":null,"post_only":false},'
        b'{"id":"ETH-USD","status":"offline","min_market_funds":"1"}],"currencies":[]}'
    ),
    (
        b'{"type":"auction","product_id":"LTC-USD","sequence":7,"auction_state":"collection","best_bid_price":"1",'
        b'"open_price":"1.5","open_size":"2","can_open":"yes","timestamp":"2026-01-31T08:00:00.5Z"}'
    ),
    (
        b'{"type":"done","time":"2026-01-31T08:00:00.5Z","product_id":"BTC-USD","sequence":10,"price":"200.2",'
        b'"order_id":"d50ec984-77a8-460a-b958-66f114b0de9b","reason":"filled","side":"sell","remaining_size":"0"}'
    ),
    b'{"type":"rfq_match","trade_id":30,"product_id":"BTC-USD","size":"5","price":"400.23","side":"sell"}',
    b'{"type":"match","trade_id":"44","price":1e2,"size":null,"product_id":"\\ud83d\\ude00","note":{"a":[true,NaN]}}',
    b'{"type":"match","trade_id":45,"price":"1","product_id":"B","rxbridge_source":"rest"}',
)
ADVANCED_FRAMES = (
    (
        b'{"channel":"market_trades","timestamp":"2026-01-31T08:00:00.123456789Z","sequence_num":3,"events":['
        b'{"type":"update","trades":[{"product_id":"BTC-USD","trade_id":"44","price":"100.5","size":"0.01",'
        b'"time":"2026-01-31T08:00:00.5Z","side":"BUY"},{"product_id":"BTC-USD","trade_id":"43","side":"SELL"}]}]}'
    ),
    (
        b'{"channel":"ticker","timestamp":"2026-01-31T08:00:00Z","sequence_num":4,"events":[{"type":"update",'
        b'"tickers":[{"product_id":"BTC-USD","price":"100.5","volume_24_h":"1","best_bid":"100","best_ask":"101"}]}]}'
    ),
    (
        b'{"channel":"candles","timestamp":"2026-01-31T08:00:00Z","sequence_num":5,"events":[{"type":"snapshot",'
        b'"candles":[{"start":"1769846400","high":"2","low":"1","open":"1","close":"2","volume":"3","product_id":"A"}]}]}'
    ),
    b'{"channel":"heartbeats","sequence_num":6,"events":[{"current_time":"x","heartbeat_counter":7}]}',
    b'{"channel":"subscriptions","sequence_num":7,"events":[{"subscriptions":{"ticker":["BTC-USD"]}}]}',
)
BOOKS = (
    b'{"type":"snapshot","product_id":"BTC-USD","bids":[["1","2"]],"asks":[["2","1"]]}',
    b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1.5","0.25"],["sell","2","0.00"]]}',
    b'{"type":"heartbeat","product_id":"BTC-USD"}',
    b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1.6","1"]]}',
    b'{"type":"heartbeat","product_id":"BTC-USD"}',
    b'{"type":"heartbeat","product_id":"BTC-USD"}',
)
ADVANCED_ANSWERS = (
    b'{"channel":"subscriptions","events":[{"subscriptions":{"heartbeats":["heartbeats"],"ticker":["BTC-USD"]}}]}',
    b'{"type":"error","message":"authentication failure"}',
    b'{"type":"error","message":"ETH-USD is not a valid product"}',
)
"""What Advanced Trade answers to subscriptions."""

ADVANCED_BOOKS = (
    (
        b'{"channel":"l2_data","sequence_num":0,"events":[{"type":"snapshot","product_id":"A","updates":['
        b'{"side":"bid","price_level":"1","new_quantity":"2"},{"side":"offer","price_level":"2","new_quantity":"2"}]}]}'
    ),
    (
        b'{"channel":"l2_data","sequence_num":1,"events":[{"type":"update","product_id":"A","updates":['
        b'{"side":"bid","price_level":"1.1","new_quantity":"2"}]}]}'
    ),
    b'{"channel":"heartbeats","sequence_num":2,"events":[{}]}',
    b'{"channel":"heartbeats","sequence_num":3,"events":[{}]}',
    b'{"channel":"heartbeats","sequence_num":4,"events":[{}]}',
)
GAP = b'{"type":"rxbridge_gap","kind":"trades","products":["BTC-USD"],"channel":"m","first":5,"last":9,"reason":"x"}'

BATCH_ANSWERS = (
    (
        b'{"batch_id":"b","total_events":2,"successful_events":2,"failed_events":0,"processing_status":"completed",'
        b'"results":[{"success":true,"event_id":"one","message":"Event ingested successfully","errors":null},'
        b'{"success":true,"event_id":"two","message":"Event already exists (idempotent)","errors":null}]}'
    ),
    (
        b'{"total_events":2,"successful_events":1,"failed_events":1,"results":[{"success":true,"event_id":"one"},'
        b'{"success":false,"event_id":"two","message":"Event ingestion failed",'
        b'"errors":["Rate limit exceeded. Limit: 100 events per 60 seconds"]}]}'
    ),
    (
        b'{"total_events":2,"successful_events":0,"failed_events":2,"results":[{"success":false,"event_id":"one",'
        b'"message":"Event validation failed","errors":["timestamp: Event timestamp cannot be more than 5 minutes in '
        b'the future"]},{"success":false,"event_id":"two","message":"Validation error: title","errors":null}]}'
    ),
)
ERROR_ANSWERS = (
    b'{"error":"HTTP_ERROR","message":"Invalid API key","status_code":401}',
    (
        b'{"error":"HTTP_ERROR","message":{"message":"Event ingestion failed","errors":["Rate limit exceeded. Limit: '
        b'100 events per 60 seconds"]},"status_code":400}'
    ),
    b'{"detail":[{"type":"missing","loc":["body","title"],"msg":"Field required","input":{}}]}',
    b"<html><body>502 Bad Gateway</body></html>",
)
SEARCH_ANSWERS = (
    b'{"events":[{"id":"r","external_id":"one","timestamp":"2026-01-31T08:00:00","source":"s"}],"total_count":1}',
)
REST_ANSWERS = (
    (
        b'[{"time":"2026-01-31T08:00:00.1Z","trade_id":43,"price":"100.5","size":"0.01","side":"sell"},'
        b'{"time":"2026-01-31T08:00:00Z","trade_id":42,"price":"100.4","size":"0.02","side":"buy"}]'
    ),
    b'{"message":"NotFound"}',
)
WIRES = (
    b"\x81\x02{}",
    b"\x01\x01{\x80\x01}",
    b"\x89\x02hi\x8a\x00\x88\x04\x03\xe8by",
    b"\x82\x7e\x00\x7e" + b"x" * 126,
    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xc1\x03\xaaV*",
)
HANDSHAKES = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 4\r\nRetry-After: 5\r\n\r\nslow",
    b"HTTP/1.1 302 Found\r\nLocation: ws://other/\r\nSet-Cookie: a=b\r\n\r\n",
)

WORDS: tuple[bytes, ...] = (
    b"null", b"true", b"false", b"NaN", b"-Infinity", b"1e400", b"-1e-400", b"1" * 20, b"9" * 400, b"0.1", b"-0",
    b"1_0", b'"NaN"',
    b'"1e400"', b'"\\u0000"', b'"\\ud800"', b'"\\ud83d\\ude00"', b"\xed\xa0\x80", b"\xff", b"\xe2\x80\xae",
    b"\x1b[2J", b"\xc2\x9b", b"\\n", b"{}", b"[]", b'{"a":', b"[" * 40 + b"]" * 40, b'"' + b"x" * 130 + b'"',
    b'"2026-01-31T08:00:00+25:00"', b'"9999-12-31T23:59:59.9Z"', b'"0001-01-01T00:00:00-23:59"', b'"type":"ticker"',
    b'"product_id":', b'"trade_id":', b'"errors":[', b'"loc":["body",1]', b'"msg":"m"', b'"message":', b'"detail":',
    b"Rate limit exceeded", b"Limit: 0 events per 0 seconds", b"Multiple rows were found",
    b"Sun, 06 Nov 1994 08:49:37 GMT",
)  # fmt: skip
"""What a structured mutation puts in the place of something else."""
