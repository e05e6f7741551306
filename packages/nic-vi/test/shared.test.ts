// What a second processor can do to the NIC in the middle of its work: change a frame, or die with a lock.
import { describe, expect, it } from 'vitest';
import { DiscardReason, EventType, TransmitFlag } from '../src/index.js';
import { attachNicState } from '../src/model/plan.js';
import { NicWord, PortWord } from '../src/model/state.js';
import { cutNaively, macOf, makeFrame, pattern } from './frames.js';
import { Lab } from './lab.js';

function pair() {
  const lab = new Lab({ concurrent: true });
  const a = lab.vi(0, { request: { antiSpoof: { mac: macOf(1) } } });
  const b = lab.vi(1);
  b.control.addFilter(b.id, { kind: 'mac', mac: macOf(2) });
  /** Gives frames another source while the NIC copies them, after it has judged them. */
  const forge = () => {
    lab.memory.beforeCopy = (_to, from) => {
      if (from >= a.transmitAddress && from < a.transmitAddress + 4096) lab.memory.bytes[from + 11] = 99;
    };
  };
  return { lab, a, b, forge };
}

describe('a guest that changes its frame while the NIC reads it', () => {
  it('does not get another source through: what arrived is judged', () => {
    const { a, b, forge } = pair();
    forge();
    a.send(makeFrame());
    expect(b.poll()).toEqual([]);
    expect(b.others).toEqual([{ type: EventType.receiveDiscard, detail: 0, reason: DiscardReason.changed }]);
    expect(b.counters()).toMatchObject({ rxChanged: 1, rxFrames: 0 });
  });

  it('nor on a wire that keeps frames for later', () => {
    const { lab, a, b, forge } = pair();
    lab.wire.set({ delayUs: 5 });
    forge();
    a.send(makeFrame());
    lab.advance(5);
    expect(b.poll()).toEqual([]);
    expect(lab.wire.statistics(0)).toMatchObject({ changed: 1 });
  });

  it('nor by way of segmentation, whose headers are copied before they are judged', () => {
    const { a, b, forge } = pair();
    const spec = { payload: pattern(3000) };
    forge();
    a.send(makeFrame({ ...spec, checksum: 'zero' }), TransmitFlag.segment, 1000);
    expect(b.poll()).toEqual([]);
    expect(a.counters()).toMatchObject({ txSpoofed: 1 });
    // Changed after the first look, it makes no difference.
    const { lab, a: a2, b: b2 } = pair();
    let copies = 0;
    lab.memory.beforeCopy = (_to, from) => {
      if (copies++ > 0 && from >= a2.transmitAddress && from < a2.transmitAddress + 65536)
        lab.memory.bytes[a2.transmitAddress + 11] = 99;
    };
    a2.send(makeFrame({ ...spec, checksum: 'zero' }), TransmitFlag.segment, 1000);
    expect(b2.poll().map(({ bytes }) => bytes)).toEqual(cutNaively(spec, 1000));
  });
});

describe('a thread that was terminated with a lock', () => {
  it.each([
    ['of a port', (plan: ReturnType<typeof attachNicState>) => plan.portBase + PortWord.lock],
    ['of control', (plan: ReturnType<typeof attachNicState>) => plan.base + NicWord.controlLock],
  ])('%s is waited for, then counted, and the NIC goes on', (_which, wordOf) => {
    const { lab, a, b } = pair();
    const word = wordOf(attachNicState(lab.memory, lab.places[1]!));
    lab.memory.words[word] = 1;
    a.send(makeFrame());
    b.control.addFilter(b.id, { kind: 'mac', mac: macOf(3) });
    expect(b.poll().length).toBe(1);
    expect(lab.nics[1].describe().counters).toMatchObject({ brokenLocks: 1 });
    expect(lab.memory.words[word]).toBe(0);
    a.send(makeFrame());
    expect(b.poll().length).toBe(1);
  });
});
