"use strict";
// A file goes as HTTP on the application data channel: PUT /<name> with Content-Length; the
// receiver answers 201. Messages are pieces of one byte stream, at most 16 KiB each.
const PIECE = 16 * 1024;
const LOW_WATER = 256 * 1024;
const state = document.getElementById("state");
const progress = document.getElementById("progress");
const drop = document.getElementById("drop");
let channel = null;

function room() {
  if (channel.bufferedAmount <= LOW_WATER) { return Promise.resolve(); }
  return new Promise((resolve) => {
    channel.bufferedAmountLowThreshold = LOW_WATER;
    channel.addEventListener("bufferedamountlow", resolve, { once: true });
  });
}

async function sendFile(file) {
  if (!channel || channel.readyState !== "open") { state.textContent = "Not connected"; return; }
  const head = `PUT /${encodeURIComponent(file.name)} HTTP/1.1\r\nHost: localhost\r\n` +
    `Content-Length: ${file.size}\r\n\r\n`;
  channel.send(new TextEncoder().encode(head));
  progress.max = file.size || 1;
  for (let at = 0; at < file.size; at += PIECE) {
    const piece = await file.slice(at, at + PIECE).arrayBuffer();
    await room();
    channel.send(piece);
    progress.value = at + piece.byteLength;
  }
  state.textContent = `Sent ${file.name}`;
}

document.getElementById("file").addEventListener("change", (event) => {
  if (event.target.files.length) { sendFile(event.target.files[0]); }
});
drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) { sendFile(event.dataTransfer.files[0]); }
});

if (typeof RTCPeerConnection === "function") {
  const connection = new RTCPeerConnection();
  connection.ondatachannel = (event) => {
    channel = event.channel;
    channel.binaryType = "arraybuffer";
    channel.onopen = () => { state.textContent = "Connected"; };
    channel.onclose = () => { state.textContent = "Closed"; };
  };
}
