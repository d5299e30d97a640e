// One JSON object per line: {"id", "op", ...} on stdin, {"id", "result" | "error"} on stdout.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

// Packages lie in the folder that setup.sh filled, not beside this file.
export const require = createRequire(`${process.env.DCSDK_INTEROP_NODE}/`);

// `start` gives the function that does one command, or throws when the peer cannot run.
export async function serve(start, stop = () => {}) {
  const say = line => process.stdout.write(`${JSON.stringify(line)}\n`);
  let handle;
  try {
    handle = await start();
    say({ id: 0, result: {} });
  } catch (error) {
    say({ id: 0, error: String(error) });
    process.exit(1);
  }
  const lines = createInterface({ input: process.stdin });
  lines.on('line', async line => {
    const { id, ...command } = JSON.parse(line);
    try {
      say({ id, result: await handle(command) });
    } catch (error) {
      say({ id, error: String(error?.stack ?? error) });
    }
  });
  lines.on('close', async () => { await stop(); process.exit(0); });
}
