"""Reads the newest value of every feed from the snapshot store, without asking the daemon.  Needs: lmdb, flatbuffers, and what
`flatc --python wire/tick.fbs` makes (folder kamiyo/) on PYTHONPATH.  usage: snapshot.py DATA_FOLDER/snapshot"""
import os
import struct
import sys
from decimal import Decimal

import lmdb
from kamiyo.Tick import Tick

path = sys.argv[1]
# Without map_size the binding maps 10 MiB and raises MapResizedError once the store is larger.
env = lmdb.open(path, readonly=True, max_dbs=8, map_size=os.path.getsize(os.path.join(path, "data.mdb")))
last = env.open_db(b"last", create=False)
with env.begin() as txn:  # one transaction sees one instant; keep it short
    for key, value in txn.cursor(db=last):
        feed_id, source, kind = struct.unpack(">IBB", key)
        tick = Tick.GetRootAs(bytes(value), 0)
        price = Decimal(tick.PriceMant()).scaleb(tick.PriceExpo())
        print(feed_id, tick.Feed().decode(), {1: "trade", 2: "quote", 3: "oracle"}[kind], price, tick.Offset())
