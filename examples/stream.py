"""Reads ticks, checks that none is missing or charged twice.  Needs: websockets.  usage: stream.py FEED... (KAMIYO_URL, KAMIYO_TOKEN)"""
import asyncio
import json
import os
import sys

import websockets

URL = os.environ.get("KAMIYO_URL", "http://127.0.0.1:8402").replace("http", "ws", 1) + "/v1/stream"


async def main(feeds, want=50):
    held, ticks = {}, 0
    async with websockets.connect(URL) as ws:
        await ws.send(json.dumps({"op": "auth", "token": os.environ["KAMIYO_TOKEN"]}))
        await ws.send(json.dumps({"op": "subscribe", "id": 1, "feeds": feeds}))
        async for text in ws:
            e = json.loads(text)
            if e["type"] in ("tick", "gap"):
                first, last = (e["offset"], e["offset"]) if e["type"] == "tick" else (e["from"], e["to"])
                assert first == held.get(e["feed"], first - 1) + 1, f"{e['feed']}: {first} follows {held.get(e['feed'])}"
                held[e["feed"]] = last
            if e["type"] == "tick":
                ticks += 1
                if ticks <= want:
                    print(e["feed"], e["price"], e["source"])
                if ticks == want:  # what is on its way still comes: the answers say when it is over
                    await ws.send(json.dumps({"op": "unsubscribe", "feeds": feeds}))
                    await ws.send(json.dumps({"op": "balance"}))
            elif e["type"] == "balance":
                print(f"received {ticks}, charged {e['charged_ticks']}, balance {e['balance']} USD")
                return 0 if ticks == e["charged_ticks"] else 1
            elif e["type"] in ("error", "payment_required"):
                raise SystemExit(text)


sys.exit(asyncio.run(main(sys.argv[1:] or ["BTC/USDT@binance"])))
