/** Kernel TCP: across the wire by each path, between two guests of one host, and over veth and a kernel bridge. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { TcpLab, TcpOneHostLab } from '../demo/tcp-lab.js';
import { TcpTransfer } from '../demo/tcp-transfer.js';
import type { Path } from '../demo/result.js';
import { openNetworkNamespaces } from '../tap/index.js';
import type { NetworkNamespace } from '../tap/index.js';
import { CaseUnavailable } from './case.js';
import type { BenchCase, Figures } from './case.js';

const PEER = fileURLToPath(new URL('./tcp-peer.js', import.meta.url));
const PLUGIN = '@netaccel/dummy-accel-backend';
/** Until every thread has compiled what it runs: a second and a half on its own processor, and there are more threads. */
const WARM_UP_SECONDS = 4;
const SECONDS = 4;

/** TCP from host to host. */
export function tcpWireCase(path: Path): BenchCase {
  return {
    name: `tcp-${path}`,
    what: `kernel TCP across the wire, ${path}`,
    namespaces: true,
    run: async () => {
      const lab = await TcpLab.start({ pluginsFrom: process.cwd(), progress: () => undefined });
      try {
        if (path === 'fast') await lab.load(PLUGIN);
        const { from, to, address } = lab.ends(path);
        return await measure(from, to, address);
      } finally {
        await lab.stop();
      }
    },
  };
}

/** TCP between two guests of one host. */
export const tcpOneHostCase: BenchCase = {
  name: 'tcp-one-host',
  what: 'kernel TCP between two guests of one host, slow path',
  namespaces: true,
  run: async () => {
    const lab = await TcpOneHostLab.start({ pluginsFrom: process.cwd(), progress: () => undefined });
    try {
      const { from, to, address } = lab.ends();
      return await measure(from, to, address);
    } finally {
      await lab.stop();
    }
  },
};

/** The same TCP through the kernel alone. */
export const bridgeCase: BenchCase = {
  name: 'tcp-bridge',
  what: 'the same TCP over veth and a kernel bridge',
  namespaces: true,
  run: async () => {
    const namespaces = await openNetworkNamespaces();
    try {
      const [middle, a, b] = ['bridge', 'a', 'b'].map((name) => namespaces.add(name)) as [
        NetworkNamespace,
        NetworkNamespace,
        NetworkNamespace,
      ];
      join(middle, [
        [a, '10.78.0.1'],
        [b, '10.78.0.2'],
      ]);
      return await measure(a, b, '10.78.0.2');
    } finally {
      await namespaces.close();
    }
  },
};

/** Makes a bridge in `middle` and a veth pair to each of the others. */
function join(middle: NetworkNamespace, ends: readonly (readonly [NetworkNamespace, string])[]): void {
  ip(middle, 'link', 'add', 'br0', 'type', 'bridge');
  ip(middle, 'link', 'set', 'br0', 'up');
  for (const [i, [end, address]] of ends.entries()) {
    ip(middle, 'link', 'add', `v${i}`, 'type', 'veth', 'peer', 'name', `p${i}`);
    ip(middle, 'link', 'set', `v${i}`, 'master', 'br0', 'up');
    ip(middle, 'link', 'set', `p${i}`, 'netns', end.path);
    ip(end, 'addr', 'add', `${address}/24`, 'dev', `p${i}`);
    ip(end, 'link', 'set', `p${i}`, 'up');
  }
}

function ip(namespace: NetworkNamespace, ...args: string[]): void {
  const { status, stderr, error } = namespace.inside(() => spawnSync('ip', args, { encoding: 'utf8' }));
  if (error !== undefined)
    throw new CaseUnavailable('the program ip is missing; on Debian it is in the package iproute2');
  if (status !== 0) throw new CaseUnavailable(`ip ${args.join(' ')}: ${stderr.trim()}`);
}

async function measure(from: NetworkNamespace, to: NetworkNamespace, address: string): Promise<Figures> {
  await (
    await TcpTransfer.start(PEER, from, to, address, WARM_UP_SECONDS)
  ).ended;
  const { bytes, seconds, check } = await (await TcpTransfer.start(PEER, from, to, address, SECONDS)).ended;
  if (check.corrupted > 0)
    throw new Error(`a benchmark that corrupts data is none: ${JSON.stringify(check)}`);
  return { gbps: (bytes * 8) / seconds / 1e9 };
}
