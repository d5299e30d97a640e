// What a test asks of a peer, whatever the stack: one function per operation, the same names as in
// agent.py. Runs in Node and in a page. A stack gives `connect(options)`, which returns
// { offer(), answer(sdp), accept(sdp), open(label, options), onchannel, close() }; a channel has
// { info(), send(data), close(), onopen, onclose, onmessage }.

const FILL_STEP = 65536; // what getRandomValues fills at once

const hex = buffer => [...new Uint8Array(buffer)].map(b => b.toString(16).padStart(2, '0')).join('');

async function digest(message) {
  const kind = typeof message === 'string' ? 'text' : 'binary';
  const bytes = kind === 'text' ? new TextEncoder().encode(message) : message;
  return [kind, bytes.byteLength, hex(await crypto.subtle.digest('SHA-256', bytes))];
}

function random(size) {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; at += FILL_STEP) crypto.getRandomValues(bytes.subarray(at, at + FILL_STEP));
  return bytes;
}

// Values that come and are waited for, one after the other.
class Mailbox {
  values = [];
  waiting = [];
  put(value) {
    const waiter = this.waiting.shift();
    if (waiter) waiter(value); else this.values.push(value);
  }
  async take() {
    return this.values.length ? this.values.shift() : new Promise(done => this.waiting.push(done));
  }
}

class Channel {
  messages = new Mailbox();
  constructor(channel) {
    this.channel = channel;
    this.opened = new Promise(done => { channel.onopen = done; });
    this.closed = new Promise(done => { channel.onclose = done; });
    channel.onmessage = message => this.messages.put(message);
  }
}

export class Agent {
  connections = new Map();
  channels = new Map();
  count = 0;

  constructor(connect) { this.connect = connect; }

  async handle(command) {
    const { op, ...values } = command;
    return await this[`do_${op}`](values) ?? {};
  }

  keep(channel) {
    const name = `channel-${++this.count}`;
    this.channels.set(name, new Channel(channel));
    return name;
  }

  async do_create({ options }) {
    const name = `connection-${++this.count}`;
    const connection = await this.connect(options);
    const incoming = new Mailbox();
    // Handlers first: a message may follow the OPEN in the same packet.
    connection.onchannel = channel => incoming.put(this.keep(channel));
    this.connections.set(name, { connection, incoming });
    return { connection: name };
  }

  async do_offer({ connection, ...options }) {
    return { sdp: await this.connections.get(connection).connection.offer(options) };
  }

  async do_answer({ connection, sdp }) { return { sdp: await this.connections.get(connection).connection.answer(sdp) }; }
  async do_accept({ connection, sdp }) { await this.connections.get(connection).connection.accept(sdp); }

  async do_open({ connection, label, options }) {
    return { channel: this.keep(this.connections.get(connection).connection.open(label, options)) };
  }

  async do_incoming({ connection }) {
    const name = await this.connections.get(connection).incoming.take();
    return { channel: name, info: this.channels.get(name).channel.info() };
  }

  async do_info({ channel }) { return { info: this.channels.get(channel).channel.info() }; }
  async do_opened({ channel }) { await this.channels.get(channel).opened; }
  async do_closed({ channel }) { await this.channels.get(channel).closed; }
  async do_close_channel({ channel }) { this.channels.get(channel).channel.close(); }

  // Sends random bytes of these sizes, or these texts; says what it sent.
  async do_send({ channel, sizes, texts }) {
    const sent = [];
    for (const message of texts ?? sizes.map(random)) {
      this.channels.get(channel).channel.send(message);
      sent.push(await digest(message));
    }
    return { sent };
  }

  async do_receive({ channel, count }) {
    const received = [];
    while (received.length < count) received.push(await digest(await this.channels.get(channel).messages.take()));
    return { received };
  }

  async do_drain({ channel }) {
    const { messages } = this.channels.get(channel);
    return { received: await Promise.all(messages.values.splice(0).map(digest)) };
  }

  async do_close({ connection }) {
    const { connection: closing } = this.connections.get(connection);
    this.connections.delete(connection);
    await closing.close();
  }
}
