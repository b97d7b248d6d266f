// ws: the npm package `ws` as a peer of bench/fanout: `node ws.js --rate TICKS_PER_S [--lag-bytes N]`.
// The frame of a tick is built once and written to every socket, which is the fastest way this server has; one with more than --lag-bytes
// waiting is skipped.  Ticks are those of bench/pace.h.
'use strict';
const { WebSocketServer, Sender } = require('ws');

const args = Object.fromEntries(process.argv.slice(2).map((a, i, all) => [a, all[i + 1]]).filter((_, i) => i % 2 === 0));
const rate = Number(args['--rate'] || 50);
const lagBytes = Number(args['--lag-bytes'] || 1 << 20);
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
const startNs = process.hrtime.bigint();
const wallMinusMono = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6)) - startNs;
let made = 0;

function tick(nowNs, dueNs) {
  const stamp = wallMinusMono + (nowNs - dueNs < 1000000n ? nowNs : dueNs);
  const offset = 1000000000 + made++;
  return `{"type":"tick","feed":"SOL/USDT@binance","offset":${offset},"kind":"trade","price":"100.1${offset % 9 + 1}","size":"1.2345",` +
    `"source":"binance","ts_event":"${stamp / 1000000n * 1000000n}","ts_recv":"${stamp}"}`;
}

function turn() {
  const now = process.hrtime.bigint();
  for (let i = 0; i < 4096; i++) {
    const due = startNs + BigInt(Math.floor(made * 1e9 / rate));
    if (due > now) break;
    const frame = Sender.frame(Buffer.from(tick(now, due)), { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false });
    const bytes = frame.length === 1 ? frame[0] : Buffer.concat(frame);
    for (const client of server.clients) {
      if (client.readyState === 1 && client._socket.writableLength < lagBytes) client._socket.write(bytes);
    }
  }
  const waitMs = Math.floor((Number(startNs) + made * 1e9 / rate - Number(process.hrtime.bigint())) / 1e6);
  if (waitMs > 0) setTimeout(turn, waitMs);
  else setImmediate(turn);
}

server.on('connection', (ws) => ws._socket.setNoDelay(true));
server.on('listening', () => {
  console.log(`listening ws=127.0.0.1:${server.address().port}`);
  turn();
});
process.on('SIGTERM', () => process.exit(0));
