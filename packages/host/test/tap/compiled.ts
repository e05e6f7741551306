/**
 * Runs test programs as processes of their own: compiles src/tap and programs/ to JavaScript, as Node 20
 * cannot start TypeScript, and starts one as this user or as a user without rights.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const SOURCES = ['src/tap/', 'test/tap/programs/'] as const;
const PACKAGE = new URL('../../', import.meta.url);
/** Inside the package, so that the programs find koffi. */
const CACHE = new URL('node_modules/.cache/tap-test/', PACKAGE);

/** Who runs a program. */
export type RunAs = 'self' | 'nobody';

/** A compiled copy of the sources. */
export class CompiledPrograms {
  private readonly folder = new URL(`${process.pid}/`, CACHE);

  constructor() {
    for (const path of SOURCES) {
      const source = new URL(path, PACKAGE);
      const target = new URL(path, this.folder);
      mkdirSync(target, { recursive: true });
      for (const file of readdirSync(source).filter((entry) => entry.endsWith('.ts'))) {
        const { outputText } = ts.transpileModule(readFileSync(new URL(file, source), 'utf8'), {
          compilerOptions: {
            target: ts.ScriptTarget.ES2022,
            module: ts.ModuleKind.ESNext,
            verbatimModuleSyntax: true,
          },
        });
        writeFileSync(new URL(file.replace(/\.ts$/, '.js'), target), outputText);
      }
    }
    writeFileSync(new URL('package.json', this.folder), '{"type":"module"}');
  }

  /** Starts `programs/<program>.js`. */
  start(program: string, args: readonly string[], as: RunAs): ChildProcess {
    return this.startUnder(as === 'self' ? [] : NOBODY, program, args);
  }

  /** Starts it by way of another command, whose last act is to run what follows. */
  startUnder(wrapper: readonly string[], program: string, args: readonly string[]): ChildProcess {
    const script = fileURLToPath(new URL(`test/tap/programs/${program}.js`, this.folder));
    const [command = '', ...rest] = [...wrapper, process.execPath, script, ...args];
    return spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' });
  }

  /** Removes the copy. */
  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * Root tests the way of an ordinary user as user 65534. Where the machine keeps the TUN device to root, the
 * program sees, in a mount namespace of its own, one with the rights that most distributions give it.
 */
const AS_NOBODY = `
  set -e
  mount -t tmpfs tmpfs /mnt
  mknod -m 666 /mnt/tun c 10 200
  mount --bind /mnt/tun /dev/net/tun
  umount -l /mnt
  exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`;

const NOBODY = ['unshare', '-m', 'sh', '-c', AS_NOBODY, 'sh'] as const;

/** Why programs cannot be run as user 65534 here; undefined when they can. */
export function nobodyObstacle(): string | undefined {
  if (process.getuid?.() !== 0)
    return 'only root can become another user; this user is an ordinary one itself';
  // It must be able to run this very Node, which may be in somebody's home, and to read the sources.
  const look =
    'const { accessSync, constants } = require("node:fs");' +
    'accessSync(process.argv[1], constants.R_OK); accessSync(process.execPath, constants.X_OK);';
  const [command, ...args] = [...NOBODY, process.execPath, '-e', look, fileURLToPath(import.meta.url)];
  const tried = spawnSync(command, args, { encoding: 'utf8', cwd: '/' });
  if (tried.status === 0) return undefined;
  const said = tried.error?.message ?? tried.stderr.trim();
  return said === '' ? 'user 65534 cannot read the sources' : `running as user 65534 failed: ${said}`;
}

/** Everything that a started program says until the last holder of its output is gone. */
export async function output(
  child: ChildProcess,
): Promise<{ stdout: string; stderr: string; code: number | null }> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { stdout, stderr, code };
}
