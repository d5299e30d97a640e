// Chromium without a screen, driven over its debugging protocol; the agent runs in a page of our own.

import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { require, serve } from './lines.mjs';

const ARGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--disable-default-apps', '--no-default-browser-check', '--disable-domain-reliability',
  '--disable-features=WebRtcHideLocalIpsWithMdns,MediaRouter,OptimizationHints,DialMediaRouteProvider',
  '--allow-loopback-in-peer-connection',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', // nothing beyond this machine has a name
];

const PAGE = `<!doctype html><meta charset="utf-8"><title>peer</title><script type="module">
import { Agent } from './agent.mjs';
import { connector } from './w3c.mjs';
window.agent = new Agent(connector(RTCPeerConnection, {}));
</script>`;

const FOLDER = path.dirname(new URL(import.meta.url).pathname);

async function servePage() {
  const server = createServer(async (request, response) => {
    const name = path.basename(request.url);
    const isScript = name.endsWith('.mjs');
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? await readFile(path.join(FOLDER, name)) : PAGE);
  });
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  return server;
}

let context, server, profile;

await serve(
  async () => {
    const { chromium } = require('playwright-core');
    server = await servePage();
    profile = await mkdtemp(path.join(os.tmpdir(), 'dcsdk-chromium-'));
    context = await chromium.launchPersistentContext(profile, {
      executablePath: process.env.DCSDK_INTEROP_CHROMIUM, args: ARGS, headless: true,
    });
    const page = context.pages()[0] ?? await context.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.waitForFunction(() => window.agent);
    return command => page.evaluate(given => window.agent.handle(given), command);
  },
  async () => {
    await context?.close();
    server?.close();
    if (profile) await rm(profile, { recursive: true, force: true });
  },
);
