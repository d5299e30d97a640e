// node-datachannel: libdatachannel with libjuice, OpenSSL and usrsctp. Its own interface is used, not
// its W3C one, which hides what it cannot do.

import { Agent } from './agent.mjs';
import { require, serve } from './lines.mjs';

class Channel {
  constructor(channel) {
    this.channel = channel;
    channel.onMessage(data => this.onmessage?.(typeof data === 'string' ? data : new Uint8Array(data)));
    channel.onClosed(() => this.onclose?.());
    this.isOpen = channel.isOpen();
    channel.onOpen(() => { this.isOpen = true; this.opened?.(); });
  }

  set onopen(done) { if (this.isOpen) done(); else this.opened = done; }
  info() { return { label: this.channel.getLabel(), protocol: this.channel.getProtocol(), id: this.channel.getId() }; }
  send(data) {
    if (typeof data === 'string') this.channel.sendMessage(data); else this.channel.sendMessageBinary(data);
  }
  close() { this.channel.close(); }
}

class Connection {
  constructor(PeerConnection, options) {
    this.peer = new PeerConnection('peer', { iceServers: [], disableAutoNegotiation: true, ...options });
    this.peer.onDataChannel(channel => this.onchannel(new Channel(channel)));
    this.gathered = new Promise(done => this.peer.onGatheringStateChange(state => state === 'complete' && done()));
  }

  async local(type) {
    this.peer.setLocalDescription(type);
    await this.gathered;
    return this.peer.localDescription().sdp;
  }

  async offer() { return this.local('offer'); }
  async answer(sdp) { this.peer.setRemoteDescription(sdp, 'offer'); return this.local('answer'); }
  async accept(sdp) { this.peer.setRemoteDescription(sdp, 'answer'); }
  open(label, { ordered = true, ...options } = {}) {
    return new Channel(this.peer.createDataChannel(label, { ...options, unordered: !ordered }));
  }
  async close() { this.peer.close(); }
}

await serve(() => {
  const { PeerConnection, cleanup } = require('node-datachannel');
  const agent = new Agent(async options => new Connection(PeerConnection, { bindAddress: '127.0.0.1', maxMessageSize: 1 << 20, ...options }));
  return async command => command.op === 'exit' ? cleanup() : agent.handle(command);
});
