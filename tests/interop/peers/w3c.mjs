// A stack with the interface of the W3C (RTCPeerConnection), as the agent wants it.

class W3cChannel {
  constructor(channel) {
    this.channel = channel;
    channel.binaryType = 'arraybuffer';
    channel.onmessage = event => {
      const data = event.data;
      // Copies: a Buffer may be a window into memory that is used again.
      this.onmessage?.(typeof data === 'string' ? data : new Uint8Array(data));
    };
    channel.onclose = () => this.onclose?.();
    this.isOpen = channel.readyState === 'open';
    channel.onopen = () => { this.isOpen = true; this.opened?.(); };
  }

  set onopen(done) { if (this.isOpen) done(); else this.opened = done; }

  info() {
    const { label, protocol, id, ordered, maxRetransmits, maxPacketLifeTime, negotiated, readyState } = this.channel;
    return { label, protocol, id, ordered, maxRetransmits, maxPacketLifeTime, negotiated, readyState };
  }

  send(data) { this.channel.send(data); }
  close() { this.channel.close(); }
}

class W3cConnection {
  constructor(connection) {
    this.connection = connection;
    connection.ondatachannel = event => this.onchannel(new W3cChannel(event.channel));
  }

  async gathered(description) {
    const connection = this.connection;
    const done = new Promise(resolve => {
      connection.onicecandidate = event => event.candidate || resolve();
      connection.onicegatheringstatechange = () => connection.iceGatheringState === 'complete' && resolve();
    });
    await connection.setLocalDescription(description);
    await done;
    return connection.localDescription.sdp;
  }

  // Without a channel an offer has no m= line of one.
  async offer({ is_restart: iceRestart = false }) { return this.gathered(await this.connection.createOffer({ iceRestart })); }

  async answer(sdp) {
    await this.connection.setRemoteDescription({ type: 'offer', sdp });
    return this.gathered(await this.connection.createAnswer());
  }

  async accept(sdp) { await this.connection.setRemoteDescription({ type: 'answer', sdp }); }
  open(label, options) { return new W3cChannel(this.connection.createDataChannel(label, options)); }
  async close() { await this.connection.close(); }
}

export const connector = (Connection, config) => async options =>
  new W3cConnection(new Connection({ iceServers: [], ...config, ...options }));
