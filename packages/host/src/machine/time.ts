/** Looked up once: in a worker the global is a getter. */
const { performance } = globalThis;

/** Microseconds that mean the same in every thread of the process: what devices of a lab with workers live by. */
export function microseconds(): number {
  return (performance.timeOrigin + performance.now()) * 1000;
}
