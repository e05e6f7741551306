// Test 5: what the protocol has besides frames, as far as Linux's frontend asks for it: several queues with a channel
// for each direction, multicast, a rate, a backend that is not trusted, interfaces that go down and up. On our backend,
// then on the kernel's.
import { Backend, DOM0, Guest, KernelBackend, check, expect, makeBridge, run, sh, until } from './dom0.mjs';
import { Stream } from './stream.mjs';

const TEST = '5 features';
/** A network of its own for the interface with a rate. */
const SLOW = { dom0: '10.0.2.1', guest: '10.0.2.2' };
const RATE_MBITS = 2;

async function features(backend) {
  const { driver } = backend;
  const row = (name, body) => check(TEST, driver, name, body);
  await backend.start();
  const guest = new Guest(`features-${driver}`, backend, ['-p', '2']);
  await guest.up();
  const front = (vif, key) => `/local/domain/${guest.id}/device/vif/${vif}/${key}`;
  const back = (vif, key) => `/local/domain/0/backend/vif/${guest.id}/${vif}/${key}`;
  const read = (path) => run('xenstore-read', [path], true).trim();
  const ping = (address, options = '') => guest.exec(`/bin/ping -q -c 3 -W 20 ${options} ${address}`);

  run('xenstore-write', [front(0, 'trusted'), '0']);
  await row('interface up', () => guest.network());
  await row('trusted=0: the guest copies what it sends', async () => {
    await guest.exec('dmesg | grep -q "bouncing transmitted data"');
    const stream = new Stream(guest);
    await stream.moves();
    await stream.moves();
    return stream.end();
  });
  await row('2 vcpus: 2 queues, a channel for each direction', async () => {
    expect('queues', read(front(0, 'multi-queue-num-queues')), '2');
    const ports = [0, 1].flatMap((n) =>
      ['tx', 'rx'].map((way) => read(front(0, `queue-${n}/event-channel-${way}`))),
    );
    expect('different channels', new Set(ports.filter(Boolean)).size, 4);
  });
  await row('both queues carry frames', async () => {
    await guest.exec(
      `iperf3 -c ${DOM0} -P 8 -n 256K >/dev/null; iperf3 -c ${DOM0} -P 8 -n 256K -R >/dev/null`,
    );
    const text = await guest.exec('grep vif0-q /proc/interrupts');
    const counts = text
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .map((words) => `${words.at(-1).slice(5)} ${Number(words[1]) + Number(words[2])}`);
    if (counts.length !== 4 || counts.some((count) => count.endsWith(' 0')))
      throw new Error(counts.join(', '));
    return `events: ${counts.join(', ')}`;
  });
  await row('control ring', () => {
    expect('what is offered', read(back(0, 'feature-ctrl-ring')), '1');
    return read(front(0, 'ctrl-ring-ref')) === ''
      ? "offered; the kernel's frontend does not ask for it"
      : "the kernel's frontend asks for it";
  });
  await row('multicast', async () => {
    const answer = 'echo 0 >/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts';
    sh(answer);
    await guest.exec(answer);
    await ping('224.0.0.1', '-I eth0');
    sh('/bin/ping -q -c 3 -W 20 -I xenbr0 224.0.0.1');
    return 'asked and answered both ways';
  });
  await row('MTU 9000', () => ping(DOM0, '-M do -s 8972').then(() => ''));
  const name = read(back(0, 'vifname')) || `vif${guest.id}.0`;
  await row("dom0's interface down and up", async () => {
    sh(`ip link set ${name} down`);
    await guest.exec(`! /bin/ping -q -c 2 -W 1 ${DOM0}`);
    sh(`ip link set ${name} up`);
    await ping(DOM0);
  });
  await row("the guest's interface down and up", async () => {
    await guest.exec(`ip link set eth0 down; ! /bin/ping -q -c 1 -W 1 ${DOM0}; ip link set eth0 up`);
    await ping(DOM0);
  });
  await row(`rate=${RATE_MBITS}Mb/s, then lifted`, async () => {
    const vif = ['script=/bin/vif-up', backend.vif, `rate=${RATE_MBITS}Mb/s`].filter(Boolean);
    run('xl', ['network-attach', guest.name, ...vif]);
    await guest.exec(
      'until [ -e /sys/class/net/eth1 ]; do sleep 0.1; done; ' +
        `ip link set eth1 up; ip addr add ${SLOW.guest}/24 dev eth1; ` +
        `until /bin/ping -c 1 -W 1 ${SLOW.dom0} >/dev/null; do :; done`,
    );
    const rate = async () => {
      const text = await guest.exec(`iperf3 -c ${SLOW.dom0} -t 4 -f m`);
      return Number(/([\d.]+) Mbits\/sec +receiver/.exec(text)?.[1]);
    };
    const limited = await rate();
    run('xenstore-rm', [back(1, 'rate')]);
    await until('no rate', () => read(back(1, 'rate')) === '');
    const free = await rate();
    const text = `${limited}, then ${free} Mbit/s`;
    if (!(limited > 0 && limited <= 1.2 * RATE_MBITS && free > 1.5 * RATE_MBITS)) throw new Error(text);
    return text;
  });
  await guest.destroy();
  await row('stops', async () => {
    expect('exit code', await backend.stop(), 0);
  });
}

makeBridge();
sh(`ip addr add ${SLOW.dom0}/24 dev xenbr0`);
run('iperf3', ['-s', '-D']);
await features(new Backend());
await features(new KernelBackend());
