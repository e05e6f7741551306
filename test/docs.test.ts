// The pages: links lead somewhere, the tour leads to what it names, generated tables are current, samples run.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AcceleratorRegistry } from '@netaccel/core-hooks';
import type {
  BackendAcceleratorDefinition,
  Frame,
  FrontendAcceleratorDefinition,
  NicPortHold,
} from '@netaccel/core-hooks';
import { createVif, introduceDomain } from '@netaccel/host';
import { Netback } from '@netaccel/netback';
import { Netfront } from '@netaccel/netfront';
import { NIC_CONTROL } from '@netaccel/nic-vi';
import { SimMachine } from '@netaccel/xen/sim';
import { protocolPage } from '../scripts/make-protocol-tables.mjs';
import { brokenLinks, declares, functionLinks, pages, root, samples } from './markdown.js';

const run = promisify(execFile);
const all = pages();

describe('pages', () => {
  it.each(all.map((page) => [page.path, page] as const))('%s: no link leads nowhere', (_path, page) => {
    expect(brokenLinks(page)).toEqual([]);
  });

  it('the tour leads to every function that it names', () => {
    const stops = functionLinks(all.find(({ path }) => path === join('docs', 'tour.md'))!);
    expect(stops.length).toBeGreaterThan(60);
    expect(stops.filter(({ file, name }) => !declares(file, name))).toEqual([]);
  });

  it('docs/protocol.md is what the layouts say: node scripts/make-protocol-tables.mjs', async () => {
    expect(readFileSync(join(root, 'docs', 'protocol.md'), 'utf8')).toBe(await protocolPage());
  });
});

describe('samples', () => {
  const each = all.flatMap(samples).map((sample, i) => ({ ...sample, file: `sample-${i}.mts` }));
  let folder = '';

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'netaccel-samples-'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir');
    for (const { file, code } of each) {
      writeFileSync(join(folder, file), code);
      const { outputText } = ts.transpileModule(code, {
        compilerOptions: {
          module: ts.ModuleKind.ESNext,
          target: ts.ScriptTarget.ES2022,
          verbatimModuleSyntax: true,
        },
      });
      writeFileSync(join(folder, file.replace(/mts$/, 'mjs')), outputText);
    }
  });
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('every sample type-checks', { timeout: 120_000 }, () => {
    const program = ts.createProgram(
      each.map(({ file }) => join(folder, file)),
      {
        noEmit: true,
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        verbatimModuleSyntax: true,
        skipLibCheck: true,
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        types: ['node'],
        typeRoots: [join(root, 'node_modules', '@types')],
      },
    );
    const complaints = ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
      const sample = each.find((one) => file?.fileName.endsWith(one.file));
      const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start ?? 0).line + 1;
      return `${sample?.title ?? '?'} +${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
    });
    expect(complaints).toEqual([]);
  });

  it.each(each.map((sample) => [sample.title, sample] as const))(
    '%s runs, and prints what it says',
    { timeout: 60_000 },
    async (_title, { file, prints }) => {
      const { stdout } = await run(process.execPath, [join(folder, file.replace(/mts$/, 'mjs'))], {
        timeout: 50_000,
      });
      expect(stdout.split('\n').filter((line) => line !== '')).toEqual(prints);
    },
  );

  it('the two plugins in README.md and docs/plugin-authors/hooks.md attach to each other, take a frame and decline one', async () => {
    const halfIn = async <T>(path: string): Promise<T> => {
      const { file } = each.find(
        ({ title, code }) => title.startsWith(`${path}:`) && code.includes('export default'),
      )!;
      return ((await import(join(folder, file.replace(/mts$/, 'mjs')))) as { default: T }).default;
    };
    const front = await halfIn<FrontendAcceleratorDefinition>('README.md');
    const back = await halfIn<BackendAcceleratorDefinition>(join('docs', 'plugin-authors', 'hooks.md'));
    const machine = new SimMachine({ audit: true });
    const driverDomain = machine.createDomain(0);
    const guest = machine.createDomain(1);
    const done = async <T>(work: Promise<T>): Promise<T> => {
      await machine.settle(0);
      return work;
    };
    const { store } = driverDomain;
    const vif = { guest: 1, backend: 0, handle: 0, mac: '02:00:00:00:00:01', mtu: 1500 };
    await done(introduceDomain(store, 1, 'guest'));
    await done(createVif(store, { ...vif, accel: 'eth0', rate: null, limits: null }));

    const stays = () => () => undefined;
    const port: NicPortHold = {
      ...{ name: 'eth0', device: { kind: NIC_CONTROL } },
      ...{ onReceive: stays, onTransmit: stays, onLink: stays, onReset: stays },
      received: () => Promise.resolve(),
    };
    const backends = new AcceleratorRegistry<BackendAcceleratorDefinition>();
    backends.register(back);
    const fronts = new AcceleratorRegistry<FrontendAcceleratorDefinition>();
    fronts.register(front);
    const slow: number[] = [];
    const network = { deliver: (frame: Frame) => void slow.push(frame.totalBytes), flush: () => undefined };
    const netback = new Netback({
      ...{ domain: driverDomain, frontend: 1, handle: 0, network },
      accelerators: { registry: backends, port: () => port },
    });
    const stack = { deliver: () => undefined, flush: () => undefined };
    const netfront = new Netfront({ domain: guest, handle: 0, stack, registry: fronts });
    await done(Promise.all([netback.start(), netfront.start()]));
    expect(netfront.state.accelerator).toBe('live');

    const send = (etherType: readonly [number, number], bytes: number) => {
      const frame = netfront.allocate(bytes)!;
      guest.memory.bytes.set(etherType, frame.home + 12);
      frame.describe(frame.home, bytes);
      return netfront.startXmit(frame, false);
    };
    expect(send([0x08, 0x00], 100)).toBe(true);
    expect(send([0x08, 0x06], 60)).toBe(true);
    await machine.settle(0);
    const { accelerated, declines } = netfront.statistics();
    expect({ fast: accelerated.txFrames, notIp: declines['not-ip'], slow }).toEqual({
      fast: 1,
      notIp: 1,
      slow: [60],
    });

    const stopped = netfront.stop();
    await machine.settle();
    await stopped;
    const gone = netback.stop();
    await machine.settle();
    await gone;
    expect(machine.audit.violations).toEqual([]);
  });
});
