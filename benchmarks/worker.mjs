// One end of a measurement, for transports that run on Node. The orders are those of worker.py.
// usage: node worker.mjs node-datachannel|werift --host ADDRESS --signalling DESCRIPTOR

import crypto from 'node:crypto';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import readline from 'node:readline';

const require = createRequire(process.env.BENCH_NODE_ROOT + '/package.json');
const [, , engine] = process.argv;
const option = name => process.argv[process.argv.indexOf('--' + name) + 1];
const host = option('host');

const VARIANTS = 13, OPEN_TIMEOUT_S = 20, END_TIMEOUT_S = 60, PING_WARM_UP = 0.1;
const HIGH_BYTES = 1 << 20, CHECK_EVERY_BYTES = 64 << 10;
const END = Buffer.from('\0END');

const clock = () => Number(process.hrtime.bigint()) / 1e9;
const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6; };
const sleep = seconds => new Promise(done => setTimeout(done, seconds * 1000));
const turn = () => new Promise(done => setImmediate(done));

function promise() {
  let resolve;
  const given = new Promise(done => { resolve = done; });
  given.resolve = resolve;
  return given;
}

function within(seconds, work) {
  let timer;
  const late = new Promise((_, fail) => { timer = setTimeout(() => fail(new Error(`nothing in ${seconds} s`)), seconds * 1000); });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

// The same content as in base.py.
const made = new Map();
function messagesOf(size) {
  if (!made.has(size)) {
    made.set(size, Array.from({ length: VARIANTS }, (_, n) =>
      crypto.createHash('shake128', { outputLength: size }).update(`${size} ${n}`).digest()));
  }
  return made.get(size);
}

class Session {
  constructor() { this.isOpen = promise(); this.onMessage = () => {}; this.low = promise(); }
  opened() { return within(OPEN_TIMEOUT_S, this.isOpen); }

  async blast(size, seconds) {
    const messages = messagesOf(size), step = Math.max(1, Math.floor(CHECK_EVERY_BYTES / size));
    this.setLowThreshold(HIGH_BYTES / 2);
    let count = 0;
    const end = clock() + seconds;
    while (clock() < end) {
      if (this.buffered() >= HIGH_BYTES) {
        while (this.buffered() > HIGH_BYTES / 2 && clock() < end) {
          this.low = promise();
          await Promise.race([this.low, sleep(0.05)]);
        }
      }
      for (let n = 0; n < step; n++) this.send(messages[count++ % VARIANTS]);
      await turn();
    }
    this.send(END);
    return count;
  }

  async drain(sink) {
    const done = promise();
    this.onMessage = message => { if (!sink.take(message)) done.resolve(); };
    await within(END_TIMEOUT_S, done);
  }

  async ping(payload, count) {
    const times = [], done = promise();
    let started = 0;
    this.onMessage = message => {
      const now = clock();
      if (!payload.equals(message)) { done.resolve(); return; }
      times.push(now - started);
      if (times.length >= count) { done.resolve(); return; }
      started = clock();
      this.send(payload);
    };
    started = clock();
    this.send(payload);
    await within(END_TIMEOUT_S, done);
    if (times.length < count) throw new Error('the echo is not what was sent');
    return times;
  }

  async echo(count) {
    const done = promise();
    this.onMessage = message => { this.send(message); if (!--count) done.resolve(); };
    await within(END_TIMEOUT_S, done);
  }
}

class Sink {
  constructor(size) { this.expected = messagesOf(size); this.count = 0; this.startedS = this.endedS = 0; this.isDamaged = false; }
  take(message) {
    if (this.expected[this.count % VARIANTS].equals(message)) {
      if (!this.count) this.startedS = clock();
      this.count++;
      return true;
    }
    this.endedS = clock();
    this.isDamaged = !END.equals(message);
    return false;
  }
}

const installed = name => JSON.parse(fs.readFileSync(`${process.env.BENCH_NODE_ROOT}/node_modules/${name}/package.json`)).version;

function libdatachannel() {
  const { PeerConnection, getLibraryVersion } = require('node-datachannel');
  let number = 0;
  class LibdatachannelSession extends Session {
    constructor() {
      super();
      this.peer = new PeerConnection(`peer ${number++}`, { iceServers: [], disableAutoNegotiation: true, bindAddress: host, mtu: 1200 });
      this.gathered = promise();
      this.peer.onGatheringStateChange(state => { if (state === 'complete') this.gathered.resolve(); });
      this.peer.onDataChannel(channel => { this.use(channel); this.isOpen.resolve(); });
    }

    use(channel) {
      this.channel = channel;
      channel.onMessage(message => this.onMessage(message));
      channel.onBufferedAmountLow(() => this.low.resolve());
    }

    async described(type) { this.peer.setLocalDescription(type); await this.gathered; return this.peer.localDescription().sdp; }
    async offer() {
      const channel = this.peer.createDataChannel('bench');
      this.use(channel);
      channel.onOpen(() => this.isOpen.resolve());
      return this.described('offer');
    }

    async answer(offer) { this.peer.setRemoteDescription(offer, 'offer'); return this.described('answer'); }
    async accept(answer) { this.peer.setRemoteDescription(answer, 'answer'); }
    send(message) { this.channel.sendMessageBinary(message); }
    buffered() { return this.channel.bufferedAmount(); }
    setLowThreshold(size) { this.channel.setBufferedAmountLowThreshold(size); }
    async close() { this.channel.close(); this.peer.close(); }
  }
  return { version: `node-datachannel ${installed('node-datachannel')}, libdatachannel ${getLibraryVersion()}`, make: () => new LibdatachannelSession() };
}

function werift() {
  const { RTCPeerConnection } = require('werift');
  class WeriftSession extends Session {
    constructor() {
      super();
      this.peer = new RTCPeerConnection({ iceServers: [], iceAdditionalHostAddresses: [host] });
      this.peer.ondatachannel = event => { this.use(event.channel); this.isOpen.resolve(); };
    }

    use(channel) {
      this.channel = channel;
      channel.onmessage = event => this.onMessage(Buffer.isBuffer(event.data) ? event.data : Buffer.from(event.data));
      channel.bufferedAmountLow.subscribe(() => this.low.resolve());
    }

    async described() {
      if (this.peer.iceGatheringState !== 'complete') {
        const gathered = promise();
        this.peer.iceGatheringStateChange.subscribe(state => { if (state === 'complete') gathered.resolve(); });
        if (this.peer.iceGatheringState !== 'complete') await within(OPEN_TIMEOUT_S, gathered);
      }
      const keep = line => !line.startsWith('a=candidate') || line.includes(` ${host} `);
      return this.peer.localDescription.sdp.split('\r\n').filter(keep).join('\r\n');
    }

    async offer() {
      const channel = this.peer.createDataChannel('bench');
      this.use(channel);
      channel.onopen = () => this.isOpen.resolve();
      await this.peer.setLocalDescription(await this.peer.createOffer());
      return this.described();
    }

    async answer(offer) {
      await this.peer.setRemoteDescription({ type: 'offer', sdp: offer });
      await this.peer.setLocalDescription(await this.peer.createAnswer());
      return this.described();
    }

    async accept(answer) { await this.peer.setRemoteDescription({ type: 'answer', sdp: answer }); }
    send(message) { this.channel.send(message); }
    buffered() { return this.channel.bufferedAmount; }
    setLowThreshold(size) { this.channel.bufferedAmountLowThreshold = size; }
    async close() { await this.peer.close(); }
  }
  return { version: `werift ${installed('werift')}`, make: () => new WeriftSession() };
}

const { version, make } = { 'node-datachannel': libdatachannel, werift }[engine]();

// --- the way to the other end ---------------------------------------------------------------------
const signalling = new net.Socket({ fd: Number(option('signalling')), readable: true, writable: true });
const heard = [], listeners = [];
readline.createInterface({ input: signalling }).on('line', line => {
  if (listeners.length) listeners.shift()(JSON.parse(line)); else heard.push(JSON.parse(line));
});
const hear = () => heard.length ? Promise.resolve(heard.shift()) : new Promise(done => listeners.push(done));
const tell = text => signalling.write(JSON.stringify(text) + '\n');

function residentKb() {
  globalThis.gc?.();
  const lines = fs.readFileSync('/proc/self/smaps_rollup', 'ascii').split('\n').filter(line => line.startsWith('Priv'));
  return lines.reduce((sum, line) => sum + Number(line.split(/\s+/)[1]), 0);
}

// --- orders ---------------------------------------------------------------------------------------
let sessions = [];
const last = () => sessions[sessions.length - 1];
const orders = {
  hello: async () => ({ version }),
  open: async order => {
    const walls = [], cpus = [];
    for (let n = 0; n < order.count; n++) {
      let began, used, session;
      if (order.is_caller) {
        began = clock(); used = cpu();
        session = make();
        tell(await session.offer());
        await session.accept(await hear());
        await session.opened();
        await hear();
      } else {
        const offer = await hear();
        began = clock(); used = cpu();
        session = make();
        tell(await session.answer(offer));
        await session.opened();
        tell('open');
      }
      cpus.push(cpu() - used);
      walls.push(clock() - began);
      if (order.keep) { sessions.push(session); continue; }
      tell('done'); await hear();
      await session.close();
      tell('closed'); await hear();
    }
    return { wall_s: walls, cpu_s: cpus };
  },
  send: async order => { messagesOf(order.size); const used = cpu(); const count = await last().blast(order.size, order.seconds); return { count, cpu_s: cpu() - used }; },
  receive: async order => {
    const sink = new Sink(order.size), used = cpu();
    await last().drain(sink);
    const seconds = sink.endedS - sink.startedS;
    return { count: sink.count, is_damaged: sink.isDamaged, bytes_per_s: sink.count > 1 ? (sink.count - 1) * order.size / seconds : 0, cpu_s: cpu() - used };
  },
  ping: async order => {
    let times = await last().ping(Buffer.alloc(order.size), order.count);
    times = times.slice(Math.floor(times.length * PING_WARM_UP)).sort((a, b) => a - b);
    return { p50_s: times[Math.floor(times.length / 2)], p99_s: times[Math.floor(times.length * 0.99)] };
  },
  echo: async order => { await last().echo(order.count); return {}; },
  memory: async () => ({ kb: residentKb() }),
  idle: async order => { const used = cpu(), began = clock(); await sleep(order.seconds); return { share: (cpu() - used) / (clock() - began) }; },
  close: async () => { const old = sessions; sessions = []; for (const session of old) await session.close(); return {}; },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let reply;
  try { reply = await orders[order.op](order); } catch (error) { console.error(error); reply = { error: String(error) }; }
  process.stdout.write(JSON.stringify({ id: order.id, ...reply }) + '\n');
}
process.exit(0);
