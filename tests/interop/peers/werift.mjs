// werift: DTLS, SCTP and ICE in TypeScript alone.

import { Agent } from './agent.mjs';
import { require, serve } from './lines.mjs';
import { connector } from './w3c.mjs';

await serve(() => {
  const { RTCPeerConnection, RTCSctpTransport } = require('werift');
  // It chooses the first id when it begins SCTP itself, and ends when the other side was faster.
  const flush = RTCSctpTransport.prototype.dataChannelFlush;
  RTCSctpTransport.prototype.dataChannelFlush = function () {
    if (this.sctp.state === 'connected') this.dataChannelId ??= this.isServer ? 0 : 1;
    return flush.call(this);
  };
  const agent = new Agent(connector(RTCPeerConnection, {
    iceAdditionalHostAddresses: ['127.0.0.1'],
    iceInterfaceAddresses: { udp4: '127.0.0.1' },
    iceUseIpv6: false,
    maxMessageSize: 1 << 20,
  }));
  return command => agent.handle(command);
});
