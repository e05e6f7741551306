// What tests do in dom0: run programs, start and stop guests and talk to them, start one of the two backends, and say
// what came out. Runs inside the lab, under its Node; `../test.mjs` on the machine outside reads the lines.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { get } from 'node:http';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';

/** The product's command. */
export const CLI = '/host/netaccel.mjs';
/** The bridge of dom0 that both backends use. */
export const BRIDGE = 'xenbr0';
/** Seconds that a command may take: on a busy machine the lab is many times slower than on an idle one. */
const PATIENCE = 300;
/** The address of dom0 on the bridge; guests are 10.0.0.2 and up. */
export const DOM0 = '10.0.0.1';

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `look` answers something true, and answers it. */
export async function until(what, look, seconds = PATIENCE) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await pause(50);
  }
}

/** Runs a program; answers its output. Throws when it fails, unless `mayFail`. */
export function run(program, args, mayFail = false) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (error !== undefined) throw error;
  if (status !== 0 && !mayFail)
    throw new Error(`${program} ${args.join(' ')}: ${status}: ${stderr || stdout}`);
  return stdout;
}

export const sh = (line, mayFail = false) => run('sh', ['-c', line], mayFail);

/** One line of the table; `seconds` is what it took. */
export function report(test, driver, check, ok, detail = '', seconds = undefined) {
  console.log(`@result ${JSON.stringify({ test, driver, check, ok, detail: String(detail), seconds })}`);
}

/** Runs one check; a throw is its failure. `body` answers what the table says besides. */
export async function check(test, driver, name, body) {
  const from = Date.now();
  const took = () => Math.round((Date.now() - from) / 1000);
  try {
    const detail = (await body()) ?? '';
    report(test, driver, name, true, detail, took());
  } catch (error) {
    report(test, driver, name, false, error.message.split('\n')[0], took());
  }
}

export function expect(what, seen, wanted) {
  const same = JSON.stringify(seen) === JSON.stringify(wanted);
  if (!same) throw new Error(`${what}: expected ${JSON.stringify(wanted)}, saw ${JSON.stringify(seen)}`);
}

/** The bridge that both backends use, with dom0's address. */
export function makeBridge(mtu = 9000) {
  sh(`modprobe bridge; ip link add ${BRIDGE} type bridge; ip link set ${BRIDGE} mtu ${mtu};
      ip addr add ${DOM0}/24 dev ${BRIDGE}; ip link set ${BRIDGE} up`);
}

const sumOf = (lines, name) =>
  lines
    .filter((line) => line.startsWith(name))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);

/** Our daemon. */
export class Backend {
  driver = 'netaccel';
  vif = '';
  /** Which network vifs are on. */
  network = ['--bridge', BRIDGE];
  log = '/tmp/backend.log';

  async start(...more) {
    const out = openSync(this.log, 'a');
    const before = this.lines('started').length;
    const args = [
      CLI,
      'xen',
      'backend',
      ...this.network,
      '--load',
      '2',
      '--metrics',
      '127.0.0.1:9190',
      ...more,
    ];
    this.child = spawn('node', args, { stdio: ['ignore', out, out] });
    this.ended = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve(signal ?? code)));
    await until('the backend starts', () => {
      if (this.child.exitCode !== null) throw new Error(`the backend ended: ${this.said().slice(-400)}`);
      return this.lines('started').length > before;
    });
  }

  said() {
    return existsSync(this.log) ? readFileSync(this.log, 'utf8') : '';
  }

  /** Records of its log. */
  lines(event) {
    return this.said()
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
      .filter((record) => record.event === event);
  }

  /** Its metrics, as lines. A connection for each look: one that is kept may be a killed predecessor's. */
  metrics() {
    return new Promise((resolve, reject) => {
      get('http://127.0.0.1:9190/metrics', { agent: false }, (response) => {
        text(response).then((body) => resolve(body.split('\n')), reject);
      }).once('error', reject);
    });
  }

  /** The sum of its metrics' samples of that name. */
  async metric(name) {
    return sumOf(await this.metrics(), name);
  }

  /** What it holds. */
  async held() {
    const lines = await this.metrics();
    const kinds = ['grants', 'mappings', 'ports', 'watches', 'tasks', 'pages'];
    return Object.fromEntries(kinds.map((what) => [what, sumOf(lines, `netaccel_held{what="${what}"}`)]));
  }

  kill(signal) {
    this.child.kill(signal);
    return this.ended;
  }

  stop() {
    return this.kill('SIGTERM');
  }
}

/** The kernel's. */
export class KernelBackend {
  driver = 'kernel';
  vif = `bridge=${BRIDGE}`;

  start() {
    sh('modprobe xen-netback');
  }

  stop() {
    return 0; // a module in use stays
  }
}

/** Interfaces of guests that are there now. */
export const vifInterfaces = () =>
  sh("ls /sys/class/net | grep '^vif' || true").trim().split('\n').filter(Boolean);

/** Vif nodes in the backend's directory. */
export const vifNodes = () =>
  sh('xenstore-ls -f /local/domain/0/backend/vif 2>/dev/null | grep -c /frontend-id || true').trim();

/** What our daemon holds, and what is there because of it. */
export const residueOf = async (backend) => ({
  ...(await backend.held()),
  interfaces: vifInterfaces(),
  nodes: vifNodes(),
});

/** Waits until nothing is held but what was held before: the last steps of an end take a moment. */
export async function nothingLeft(backend, before) {
  let seen;
  await until(
    'all is given back',
    async () => {
      seen = await residueOf(backend);
      return JSON.stringify(seen) === JSON.stringify(before);
    },
    60,
  ).catch((error) => {
    if (seen === undefined) throw error;
    expect('what is held', seen, before);
  });
}

/** Reads commands from the console. Each runs beside the others, so that a stream can go on meanwhile. */
const AGENT =
  'stty -echo -F /dev/hvc0; echo @agent; while read -r number line; do (eval "$line"; ' +
  'echo "@done $number $?") & done </dev/hvc0';

/** A guest that takes commands. */
export class Guest {
  #number = 0;

  constructor(name, backend, options = []) {
    this.name = name;
    this.log = `/var/log/xen/guest-${name}.log`;
    writeFileSync(this.log, '');
    const vif = backend === null ? [] : ['-v', backend.vif];
    this.child = spawn('domu', ['-n', name, ...vif, ...options, AGENT], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, KEEP_INITRD: '1' },
    });
    this.ended = new Promise((resolve) => this.child.once('exit', resolve));
  }

  console() {
    return readFileSync(this.log, 'latin1').replaceAll('\r', '');
  }

  /** Waits until it takes commands: the `nth` time that it has booted. */
  async up(nth = 1) {
    await until(`${this.name} boots`, () => {
      if (this.child.exitCode !== null)
        throw new Error(`${this.name} did not start: ${this.console().slice(-300)}`);
      return this.console().split('@agent').length > nth;
    });
    this.moved();
  }

  /** It is another domain now: it has booted, or was restored. */
  moved() {
    this.id = run('xl', ['domid', this.name]).trim();
    this.terminal = run('xenstore-read', [`/local/domain/${this.id}/console/tty`]).trim();
  }

  /** Begins a command; answers a promise of its output. */
  start(line, seconds = PATIENCE) {
    const number = ++this.#number;
    const from = this.console().length;
    const descriptor = openSync(this.terminal, 'w');
    writeSync(descriptor, `${number} ${line}\n`);
    const end = new RegExp(`@done ${number} (\\d+)\\n`);
    const said = () => this.console().slice(from);
    return until(`${this.name}: ${line.slice(0, 40)}`, () => end.exec(said()), seconds).then(
      (match) => ({ code: Number(match[1]), text: said().slice(0, match.index) }),
      (error) => {
        throw new Error(`${error.message}; it said: ${said().trim().slice(-200).replaceAll('\n', ' | ')}`);
      },
    );
  }

  /** Runs a command; throws when it fails. */
  async exec(line, seconds) {
    const { code, text } = await this.start(line, seconds);
    if (code !== 0)
      throw new Error(`${this.name}: ${line.slice(0, 80)}: exit code ${code}: ${text.trim().slice(-200)}`);
    return text;
  }

  /** Loads the kernel's driver and gives the interface an address. */
  async network(address = '10.0.0.2', mtu = 9000) {
    await this.exec(
      `modprobe xen-netfront; ip link set eth0 mtu ${mtu} up; ip addr add ${address}/24 dev eth0; ` +
        `until /bin/ping -c 1 -W 1 ${DOM0} >/dev/null; do :; done`,
    );
  }

  async destroy() {
    run('xl', ['destroy', this.name], true);
    await this.ended;
  }
}

/** Options of a guest that runs the product. */
export const PRODUCT = [
  '-m',
  '700',
  ...['/lab/node', '/host/netaccel.mjs', '/host/hostile.mjs', '/host/node_modules'].flatMap((path) => [
    '-f',
    path,
  ]),
];

/** Our frontend in a guest of its own: `netaccel xen frontend` with an interface `eth0`. */
export class FrontendGuest extends Guest {
  constructor(name, backend, options = []) {
    super(name, backend, [...PRODUCT, ...options]);
  }

  /** Starts it, and waits until it answers; answers the seconds. Nothing else runs meanwhile: the guest is slow. */
  async network(address = '10.0.0.2', options = '') {
    const from = Date.now();
    await this.exec(
      'echo 8192 >/sys/module/xen_gntalloc/parameters/limit; ' +
        `node /host/netaccel.mjs xen frontend --tap eth0 --address ${address}/24 --plugins-from /host ${options} ` +
        '>/tmp/log 2>&1 & echo $! >/tmp/pid; ' +
        `until grep -q '"started"' /tmp/log; do kill -0 $(cat /tmp/pid) || { cat /tmp/log; exit 1; }; sleep 0.5; done; ` +
        `until /bin/ping -q -c 1 -W 2 ${DOM0} >/dev/null; do :; done`,
    ).catch(async (error) => {
      console.log(`@frontend ${await this.exec('cat /tmp/log')}`);
      throw error;
    });
    return Math.round((Date.now() - from) / 1000);
  }

  /** Waits until its accelerator has been in `state` so many times. */
  async accelerator(state, times) {
    const seen = `grep -c '"accelerator":"${state}"' /tmp/log`;
    await this.exec(`until [ $(${seen}) -ge ${times} ]; do sleep 0.5; done`).catch(async (error) => {
      console.log(`@frontend ${JSON.stringify((await this.exec('tail -n 20 /tmp/log')).split('\n'))}`);
      throw error;
    });
  }

  /** Ends it; answers what it said by name of the event. */
  async stop() {
    await this.exec('p=$(cat /tmp/pid); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.2; done');
    const records = (await this.exec('cat /tmp/log'))
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line));
    console.log(`@frontend ${JSON.stringify(records.slice(-30))}`);
    return (event) => records.find((record) => record.event === event);
  }
}

/** What is held, all kinds together. */
export const total = (ledger) => Object.values(ledger).reduce((sum, n) => sum + n, 0);

/** Serves `bytes` on one port and takes what comes on another; answers what came. */
export function fileServer(bytes) {
  const received = [];
  const gives = createServer((socket) => socket.end(bytes)).listen(5002);
  const takes = createServer((socket) => socket.on('data', (data) => received.push(data))).listen(5001);
  const close = () => {
    gives.close();
    takes.close();
  };
  return { received, close };
}
