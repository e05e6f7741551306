// tiny wasm builder: copy, clear, sum (SIMD)
const leb = (n) => {
  const o = [];
  do {
    let b = n & 127;
    n >>>= 7;
    if (n) b |= 128;
    o.push(b);
  } while (n);
  return o;
};
const sleb = (n) => {
  const o = [];
  for (;;) {
    const b = n & 127;
    n >>= 7;
    if ((n === 0 && !(b & 64)) || (n === -1 && b & 64)) {
      o.push(b);
      return o;
    }
    o.push(b | 128);
  }
};
const vec = (a) => [...leb(a.length), ...a.flat()];
const sec = (id, c) => [id, ...leb(c.length), ...c];
const str = (s) => vec([...Buffer.from(s)].map((x) => [x]));
const g = (i) => [0x20, ...leb(i)],
  s = (i) => [0x21, ...leb(i)],
  c = (n) => [0x41, ...sleb(n)];
const body = (locals, code) => {
  const b = [...vec(locals.map(([n, ty]) => [...leb(n), ty])), ...code, 0x0b];
  return [...leb(b.length), ...b];
};
const v = (op) => [0xfd, ...leb(op)];
export function build(maxPages) {
  const copy = body([], [...g(0), ...g(1), ...g(2), 0xfc, 0x0a, 0, 0]);
  const clear = body([], [...g(0), ...c(0), ...g(1), 0xfc, 0x0b, 0]);
  // sum(addr,len,initial): locals 3:end 4:acc i64... 5,6 v128
  const vload = (off) => [...v(0), 1, ...leb(off)];
  const extadd = v(0x7f) /* i32x4.extadd_pairwise_i16x8_u */,
    add = v(0xae);
  const code = [
    // v5=v6=v7=v8=0 by default
    // while len>=64
    0x02,
    0x40,
    0x03,
    0x40,
    ...g(1),
    ...c(64),
    0x49,
    0x0d,
    1, // i32.lt_u br_if 1
    ...g(5),
    ...g(0),
    ...vload(0),
    ...extadd,
    ...add,
    ...s(5),
    ...g(6),
    ...g(0),
    ...vload(16),
    ...extadd,
    ...add,
    ...s(6),
    ...g(7),
    ...g(0),
    ...vload(32),
    ...extadd,
    ...add,
    ...s(7),
    ...g(8),
    ...g(0),
    ...vload(48),
    ...extadd,
    ...add,
    ...s(8),
    ...g(0),
    ...c(64),
    0x6a,
    ...s(0),
    ...g(1),
    ...c(64),
    0x6b,
    ...s(1),
    0x0c,
    0,
    0x0b,
    0x0b,
    0x02,
    0x40,
    0x03,
    0x40,
    ...g(1),
    ...c(16),
    0x49,
    0x0d,
    1,
    ...g(5),
    ...g(0),
    ...vload(0),
    ...extadd,
    ...add,
    ...s(5),
    ...g(0),
    ...c(16),
    0x6a,
    ...s(0),
    ...g(1),
    ...c(16),
    0x6b,
    ...s(1),
    0x0c,
    0,
    0x0b,
    0x0b,
    ...g(5),
    ...g(6),
    ...add,
    ...g(7),
    ...g(8),
    ...add,
    ...add,
    ...s(5),
    // acc(i64 local 4)= sum lanes
    ...[0, 1, 2, 3].flatMap((l) => [...g(5), ...v(27), l, 0xad, ...(l ? [0x7c] : [])]),
    ...s(4),
    // 8 bytes
    0x02,
    0x40,
    ...g(1),
    ...c(8),
    0x49,
    0x0d,
    0,
    ...g(4),
    ...g(0),
    0x35,
    1,
    0,
    0x7c,
    ...g(0),
    0x35,
    1,
    4,
    0x7c,
    ...s(4),
    ...g(0),
    ...c(8),
    0x6a,
    ...s(0),
    ...g(1),
    ...c(8),
    0x6b,
    ...s(1),
    0x0b,
    0x02,
    0x40,
    ...g(1),
    ...c(4),
    0x49,
    0x0d,
    0,
    ...g(4),
    ...g(0),
    0x35,
    1,
    0,
    0x7c,
    ...s(4),
    ...g(0),
    ...c(4),
    0x6a,
    ...s(0),
    ...g(1),
    ...c(4),
    0x6b,
    ...s(1),
    0x0b,
    0x02,
    0x40,
    ...g(1),
    ...c(2),
    0x49,
    0x0d,
    0,
    ...g(4),
    ...g(0),
    0x33,
    1,
    0,
    0x7c,
    ...s(4),
    ...g(0),
    ...c(2),
    0x6a,
    ...s(0),
    ...g(1),
    ...c(2),
    0x6b,
    ...s(1),
    0x0b,
    0x02,
    0x40,
    ...g(1),
    0x45,
    0x0d,
    0,
    ...g(4),
    ...g(0),
    0x31,
    0,
    0,
    0x7c,
    ...s(4),
    0x0b,
    // fold: acc=(acc&0xffffffff)+(acc>>32) ; then to i32 16 folding
    ...g(4),
    0x42,
    ...sleb(32),
    0x88,
    ...g(4),
    0x42,
    0xff,
    0xff,
    0xff,
    0xff,
    0x0f,
    0x83,
    0x7c,
    ...s(4),
    ...[0, 1, 2].flatMap(() => [
      ...g(4),
      0x42,
      16,
      0x88,
      ...g(4),
      0x42,
      0xff,
      0xff,
      0x03,
      0x83,
      0x7c,
      ...s(4),
    ]),
    ...g(4),
    0xa7,
    ...s(3),
    // swap bytes
    ...g(3),
    ...c(8),
    0x76,
    ...g(3),
    ...c(255),
    0x71,
    ...c(8),
    0x74,
    0x72,
    ...g(2),
    0x6a,
    ...s(3),
    ...g(3),
    ...c(16),
    0x76,
    ...g(3),
    ...c(65535),
    0x71,
    0x6a,
    ...s(3),
    ...g(3),
    ...c(16),
    0x76,
    ...g(3),
    ...c(65535),
    0x71,
    0x6a,
  ];
  const sum = body(
    [
      [1, 0x7f],
      [1, 0x7e],
      [4, 0x7b],
    ],
    code,
  );
  const I = 0x7f;
  const bytes = [
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...sec(
      1,
      vec([
        [0x60, 3, I, I, I, 0],
        [0x60, 2, I, I, 0],
        [0x60, 3, I, I, I, 1, I],
      ]),
    ),
    ...sec(2, vec([[...str('e'), ...str('m'), 2, 3, ...leb(1), ...leb(maxPages)]])),
    ...sec(3, vec([[0], [1], [2]])),
    ...sec(
      7,
      vec([
        [...str('copy'), 0, 0],
        [...str('clear'), 0, 1],
        [...str('sum'), 0, 2],
      ]),
    ),
    ...sec(10, vec([copy, clear, sum])),
  ];
  return new Uint8Array(bytes);
}
export function wasmMemory(
  pages64k,
  memory = new WebAssembly.Memory({ initial: pages64k, maximum: pages64k, shared: true }),
) {
  const { copy, clear, sum } = new WebAssembly.Instance(new WebAssembly.Module(build(pages64k)), {
    e: { m: memory },
  }).exports;
  const b = memory.buffer;
  return {
    memory,
    bytes: new Uint8Array(b),
    halves: new Uint16Array(b),
    words: new Uint32Array(b),
    copy,
    clear,
    sum,
  };
}
