// The daemon on a bridge of Open vSwitch: a guest's frames pass it, its port has the external ids that an OVN
// controller binds a logical port by, and goes with the guest. Linux's netback has no part in this: Xen's scripts do it.
import { readFileSync } from 'node:fs';
import { Backend, DOM0, Guest, check, expect, run, sh, until } from './dom0.mjs';
import { flood } from './echoes.mjs';
import { Stream } from './stream.mjs';

const TEST = 'ovs';
const BRIDGE = 'xenovs0';
const row = (name, body) => check(TEST, 'netaccel', name, body);
const vsctl = (...args) => run('ovs-vsctl', args).trim();
const portsOf = () => vsctl('list-ports', BRIDGE);
const inStore = (path) => run('xenstore-read', [path]).trim();

// Before that, Open vSwitch 3.1's daemon counts no processors, starts no thread for what its datapath misses, and never
// gets those packets later either: "Overriding n-handler-threads to 0", and `ovs-appctl dpctl/show` has all misses lost.
const AGE_SECONDS = 12;
await row('Open vSwitch starts', async () => {
  await until('the host is old enough', () => parseFloat(readFileSync('/proc/uptime', 'utf8')) > AGE_SECONDS);
  // What the images lack is in the tree of packages that they are made of.
  sh(`ln -s /lab/sys/usr/lib/x86_64-linux-gnu/* /usr/lib/x86_64-linux-gnu/ 2>/dev/null
      ln -s /lab/sys/usr/bin/ovs* /lab/sys/usr/sbin/ovs* /lab/sys/usr/lib/openvswitch-switch/* /bin/
      modprobe -a crc32c_generic openvswitch; mkdir -p /etc/openvswitch /var/run/openvswitch /var/log/openvswitch
      ovsdb-tool create /etc/openvswitch/conf.db /lab/sys/usr/share/openvswitch/vswitch.ovsschema
      ovsdb-server --detach --pidfile --remote=punix:/var/run/openvswitch/db.sock
      ovs-vsctl --no-wait init; ovs-vswitchd --detach --pidfile
      ovs-vsctl add-br ${BRIDGE}; ip addr add ${DOM0}/24 dev ${BRIDGE}; ip link set ${BRIDGE} up`);
  return vsctl('--version').split('\n')[0];
});
const backend = new Backend();
backend.network = ['--ovs', BRIDGE];
await row('the daemon starts', () => backend.start());
const guest = new Guest('guest', backend);
await row('a guest boots', () => guest.up());
await row('interface up', () => guest.network('10.0.0.2', 1500));
await row('external ids', () => {
  const port = portsOf();
  expect('ports', port, `vif${guest.id}.0`);
  const machine = inStore(`/local/domain/${guest.id}/vm`).split('/').at(-1);
  const id = (name) => vsctl('get', 'interface', port, `external_ids:${name}`).replaceAll('"', '');
  expect('iface-id', id('iface-id'), `${machine}.0`);
  expect('vm-id', id('vm-id'), machine);
  expect('attached-mac', id('attached-mac'), inStore(`/local/domain/0/backend/vif/${guest.id}/0/mac`));
  expect('iface-status', id('iface-status'), 'active');
  return id('iface-id');
});
await row('ping flood', () => flood(guest, DOM0, 500));
await row('TCP, every byte checked', async () => {
  const stream = new Stream(guest);
  await stream.moves();
  await stream.moves();
  return stream.end();
});
await row('kill -9: the port is taken over', async () => {
  await backend.kill('SIGKILL');
  await backend.start();
  await guest.exec(`until /bin/ping -c 1 -W 1 ${DOM0} >/dev/null; do :; done`);
  expect('ports', portsOf(), `vif${guest.id}.0`);
});
await guest.destroy();
await row('the port goes with the guest', () => until('no port', () => portsOf() === '', 60).then(() => ''));
await row('stops', async () => expect('exit code', await backend.stop(), 0));
console.log(`@log ${JSON.stringify(backend.said().slice(-6000))}`);
