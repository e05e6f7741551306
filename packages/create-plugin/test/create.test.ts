// What is made, and what is refused: by the function, and by the command as npm runs it. That a made project installs,
// builds and passes its tests is shown by scripts/check-install.mjs.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkName, createProject, deviceKinds } from '@netaccel/create-plugin';
import type { DeviceKind } from '@netaccel/create-plugin';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'create-plugin-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function filesOf(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();
}

describe('a name', () => {
  test.each(['my-nic', 'nic2', '@acme/my-nic', '@a.b/c_d', 'a'])('may be %s', (name) => {
    expect(() => {
      checkName(name);
    }).not.toThrow();
  });

  test.each([
    ['', 'a name is needed'],
    ['My-Nic', 'lower case'],
    ['my nic', 'letters, digits'],
    ['.nic', 'no . or _ at the start'],
    ['_nic', 'no . or _ at the start'],
    ['@acme', 'a scope has one package name'],
    ['@acme/a/b', 'a scope has one package name'],
    ['../nic', 'it is a path'],
    ['/tmp/nic', 'it is a path'],
    ['a/b', 'letters, digits'],
    [`nic'; process.exit()`, 'letters, digits'],
    ['fs', 'has that name already'],
    ['node_modules', 'has that name already'],
    ['vitest', 'depends on that package'],
    ['@netaccel/nic-vi', 'depends on that package'],
    ['n'.repeat(215), 'at most 214'],
  ])('may not be %j', (name, why) => {
    expect(() => {
      checkName(name);
    }).toThrow(
      expect.objectContaining({ code: 'BAD_NAME', message: expect.stringContaining(why) as string }) as Error,
    );
  });
});

describe('a project', () => {
  test.each(Object.keys(deviceKinds) as DeviceKind[])(
    'of a %s device is whole, and all its own',
    (device) => {
      const directory = join(folder, 'deep', 'made');
      const files = createProject({ name: '@acme/fast', device, directory });
      expect(filesOf(directory)).toEqual([...files].sort());
      expect(files).toEqual(
        expect.arrayContaining([
          '.github/workflows/ci.yml',
          '.gitignore',
          'README.md',
          'lab.yaml',
          'package.json',
          'src/abilities.ts',
          'src/backend/index.ts',
          'src/backend/steering.ts',
          'src/frontend/index.ts',
          'tsconfig.json',
        ]),
      );
      for (const file of files) {
        const text = readFileSync(join(directory, file), 'utf8');
        expect(text, file).not.toMatch(/(?<!@acme\/)\bmy-nic\b/);
        expect(text, file).not.toContain('"*"');
      }
      const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Record<
        string,
        unknown
      >;
      expect(manifest).toMatchObject({
        name: '@acme/fast',
        keywords: expect.arrayContaining(['netaccel-plugin']) as string[],
        peerDependencies: {
          '@netaccel/core-hooks': expect.stringMatching(/^\^\d+\.\d+\.\d+$/) as string,
          '@netaccel/nic-vi': expect.stringMatching(/^\^\d+\.\d+\.\d+$/) as string,
        },
      });
      const scripts = manifest['scripts'] as Record<string, string>;
      const steps = [
        ...readFileSync(join(directory, '.github/workflows/ci.yml'), 'utf8').matchAll(/- run: (.+)/g),
      ];
      expect(steps.map(([, command]) => command)).toEqual(['npm install', 'npm test', 'npm run build']);
      expect(scripts).toMatchObject({
        test: expect.stringContaining('vitest run') as string,
        build: expect.any(String) as string,
      });
      const abilities = readFileSync(join(directory, 'src/abilities.ts'), 'utf8');
      expect(abilities).toContain(`FRONTEND = '@acme/fast/frontend'`);
      expect(abilities.includes('receiveFilters')).toBe(device === 'duplex');
    },
  );

  test('goes into a folder that has nothing but a fresh repository', () => {
    mkdirSync(join(folder, '.git'));
    expect(createProject({ name: 'nic', device: 'duplex', directory: folder })).toContain('package.json');
  });

  test('does not go into a folder that has something, nor is that touched', () => {
    writeFileSync(join(folder, 'mine.txt'), 'mine');
    expect(() => createProject({ name: 'nic', device: 'duplex', directory: folder })).toThrow(
      expect.objectContaining({
        code: 'NOT_EMPTY',
        message: expect.stringContaining('mine.txt') as string,
      }) as Error,
    );
    expect(filesOf(folder)).toEqual(['mine.txt']);
  });

  test('does not replace a file', () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'mine');
    expect(() => createProject({ name: 'nic', device: 'duplex', directory: file })).toThrow(
      expect.objectContaining({ code: 'NOT_A_FOLDER' }) as Error,
    );
  });

  test('has a kind of device that there is', () => {
    const device = 'toString' as DeviceKind;
    expect(() => createProject({ name: 'nic', device, directory: folder })).toThrow(
      expect.objectContaining({ code: 'BAD_DEVICE' }) as Error,
    );
    expect(filesOf(folder)).toEqual([]);
  });
});

describe('the command', { timeout: 60_000 }, () => {
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [cli, ...args], {
      cwd: folder,
      encoding: 'utf8',
    });
    return { status, stdout, stderr };
  };

  test('makes a project without a question when it is given all, and says what to do next', () => {
    const { status, stdout } = run('@acme/nic', '--device', 'transmit', '--yes');
    expect(status).toBe(0);
    expect(stdout).toContain('cd nic\n  npm install\n  npm test');
    expect(filesOf(join(folder, 'nic'))).toContain('package.json');
  });

  test.each([
    [['--yes'], 2, 'expected a name'],
    [['a', 'b', '--yes'], 2, 'expected one name'],
    [['nic', '--devise', 'x'], 2, '--devise'],
    [['nic', '--yes', '--device', 'x'], 1, 'duplex, transmit'],
    [['Nic', '--yes'], 1, 'lower case'],
  ])('refuses %j', (args, code, why) => {
    const { status, stderr } = run(...args);
    expect(status).toBe(code);
    expect(stderr).toContain(why);
    expect(filesOf(folder)).toEqual([]);
  });

  test('explains itself', () => {
    expect(run('--help').stdout).toContain('--device <kind>');
    expect(run('--version').stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});
