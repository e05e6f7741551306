// The numbers that the compiler puts into the code are those of the tables.
import { describe, expect, it } from 'vitest';
import { Ev, Limit, Net, Page, RegisterWord, Rx, Tx } from '../src/bits.js';
import {
  ETHERNET_BYTES,
  EtherType,
  EventFlag,
  EventType,
  HEADER_ROOM,
  MAX_FRAGMENTS,
  MAX_TRANSMIT_BYTES,
  MIN_SEGMENT_BYTES,
  MIN_RECEIVE_BUFFER_BYTES,
  Protocol,
  Register,
  TRANSMIT_BATCH,
  TransmitFlag,
  UNTAGGED,
  VLAN_BYTES,
  decode,
  encode,
  event,
  layout,
  network16,
  receiveDescriptor,
  registers,
  transmitDescriptor,
} from '../src/index.js';
import { nicCounters, portCounters, viCounters } from '../src/model/index.js';
import { FILTER_KEY_WORDS, FilterKey, FilterKindNumber, ANY_VLAN } from '../src/model/filter-key.js';
import { Key } from '../src/model/filter-table.js';
import { FilterWord, NicCount, PortCount, ViCount } from '../src/model/state.js';
import { WireCount, wireCounters } from '../src/model/wire-state.js';

const numbers = (of: object) => of as Record<string, number>;

describe('numbers in the code', () => {
  it('of registers', () => {
    for (const [name, { word }] of Object.entries(registers.fields)) {
      expect([name, numbers(RegisterWord)[name]]).toEqual([name, word]);
      expect(numbers(Register)[name]).toBe(word * 4);
    }
  });

  it('of descriptors', () => {
    const t = transmitDescriptor.fields;
    expect(Tx.lengthMask).toBe(t.length.mask);
    for (const name of ['continues', 'checksum', 'segment'] as const)
      expect([name, numbers(Tx)[name], TransmitFlag[name]]).toEqual([
        name,
        1 << t[name].bit,
        1 << t[name].bit,
      ]);
    expect(Tx.segmentBytesWord).toBe(t.segmentBytes.word);
    expect(Tx.segmentBytesMask).toBe(t.segmentBytes.mask);
    expect(4 << Tx.wordShift).toBe(transmitDescriptor.size);
    expect(transmitDescriptor.size << Tx.pageShift).toBe(Page.bytes);
    expect(Rx.lengthMask).toBe(receiveDescriptor.fields.length.mask);
    expect(4 << Rx.wordShift).toBe(receiveDescriptor.size);
    expect(receiveDescriptor.size << Rx.pageShift).toBe(Page.bytes);
    expect(Rx.minBufferBytes).toBe(MIN_RECEIVE_BUFFER_BYTES);
  });

  it('of events', () => {
    const e = event.fields;
    for (const [name, code] of Object.entries(EventType))
      expect([name, numbers(Ev)[name]]).toEqual([name, code]);
    for (const [name, bit] of Object.entries(EventFlag)) {
      expect([name, numbers(Ev)[name]]).toEqual([name, bit]);
      expect(bit).toBe(1 << numbers(e)[name as never]!.valueOf()['bit' as never]);
    }
    expect(Ev.typeMask).toBe(e.type.mask);
    expect([Ev.reasonShift, Ev.reasonMask]).toEqual([e.reason.bit, e.reason.mask]);
    expect([Ev.positionWord, Ev.bytesWord, Ev.detailWord]).toEqual([
      e.position.word,
      e.bytes.word,
      e.detail.word,
    ]);
    expect(Ev.bytesMask).toBe(e.bytes.mask);
    expect(4 << Ev.wordShift).toBe(event.size);
    expect(event.size << Ev.pageShift).toBe(Page.bytes);
  });

  it('of limits, pages and protocols', () => {
    expect([Limit.fragments, Limit.transmitBatch, Limit.transmitBytes, Limit.leastSegment]).toEqual([
      MAX_FRAGMENTS,
      TRANSMIT_BATCH,
      MAX_TRANSMIT_BYTES,
      MIN_SEGMENT_BYTES,
    ]);
    expect([1 << Page.shift, Page.offsetMask + 1, -Page.addressMask]).toEqual([
      Page.bytes,
      Page.bytes,
      Page.bytes,
    ]);
    expect([Net.typeIpv4, Net.typeIpv6, Net.typeVlan]).toEqual(
      [EtherType.ipv4, EtherType.ipv6, EtherType.vlan].map(network16),
    );
    expect([Net.ipv4, Net.ipv6, Net.tcp, Net.udp]).toEqual([
      EtherType.ipv4,
      EtherType.ipv6,
      Protocol.tcp,
      Protocol.udp,
    ]);
    expect([Net.ethernetBytes, Net.vlanBytes, Net.untagged, Net.headerRoom]).toEqual([
      ETHERNET_BYTES,
      VLAN_BYTES,
      UNTAGGED,
      HEADER_ROOM,
    ]);
  });

  it('of filter keys', () => {
    for (const [name, word] of Object.entries(FilterKey))
      expect([name, numbers(Key)[name]]).toEqual([name, FilterWord.key + word]);
    for (const [name, kind] of Object.entries(FilterKindNumber)) {
      if (name !== 'mac') expect([name, numbers(Key)[name]]).toEqual([name, kind]);
    }
    expect([Key.anyVlan, FilterWord.key + FILTER_KEY_WORDS]).toEqual([ANY_VLAN, FilterWord.target]);
  });

  it('of counters', () => {
    for (const [names, numbered] of [
      [nicCounters, NicCount],
      [portCounters, PortCount],
      [viCounters, ViCount],
      [wireCounters, WireCount],
    ] as const)
      expect(Object.keys(names).map((name) => numbers(numbered)[name])).toEqual(
        Object.keys(names).map((_, i) => i),
      );
  });
});

describe('byte vectors', () => {
  it('of a transmit descriptor', () => {
    expect([
      ...encode(transmitDescriptor, {
        address: 0x1234_5678,
        length: 0xf_1234,
        checksum: 1,
        segment: 1,
        segmentBytes: 1448,
      }),
    ]).toEqual([0x78, 0x56, 0x34, 0x12, 0x34, 0x12, 0x0f, 0x06, 0xa8, 0x05, 0, 0, 0, 0, 0, 0]);
    expect([...encode(transmitDescriptor, { continues: 1, length: 1 })].slice(4, 8)).toEqual([1, 0, 0, 1]);
  });

  it('of a receive descriptor', () => {
    expect([...encode(receiveDescriptor, { address: 0xfeed_f000, length: 2048 })]).toEqual([
      0, 0xf0, 0xed, 0xfe, 0, 8, 0, 0,
    ]);
  });

  it('of an event, there and back', () => {
    const value = {
      type: EventType.receive,
      start: 1,
      checksumGood: 1,
      ipv4: 1,
      tcp: 1,
      position: 0xffff_fffb,
      bytes: 1514,
      detail: 0x1_0003,
    };
    const bytes = encode(event, value);
    expect([...bytes]).toEqual([0x51, 0x0a, 0, 0, 0xfb, 0xff, 0xff, 0xff, 0xea, 0x05, 0, 0, 3, 0, 1, 0]);
    expect(decode(event, bytes)).toMatchObject(value);
  });
});

describe('layout()', () => {
  it('refuses rows that overlap, do not fit or cross a word', () => {
    const make = (rows: Parameters<typeof layout>[3]) => () => layout('x', 8, '', rows);
    expect(make({ a: [0, 0, 8, 'nic', ''], b: [0, 4, 8, 'nic', ''] })).toThrow(/overlaps/);
    expect(make({ a: [8, 0, 8, 'nic', ''] })).toThrow(/do not fit/);
    expect(make({ a: [0, 20, 16, 'nic', ''] })).toThrow(/do not fit/);
    expect(make({ a: [2, 0, 16, 'nic', ''] })).toThrow(/do not fit/);
  });

  it('refuses to encode what a field cannot hold, and to decode what is short', () => {
    expect(() => encode(event, { type: 16 })).toThrow(/4 bits/);
    expect(() => encode(event, { bytes: 1.5 })).toThrow(RangeError);
    expect(() => decode(event, new Uint8Array(15))).toThrow(/16 bytes expected/);
  });
});
