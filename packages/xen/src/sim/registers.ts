/** Device registers as a domain that was granted their page sees them. */
import { PAGE_BYTES } from '@netaccel/core-hooks';
import type { Address, MappedPages, Memory, Registers } from '@netaccel/core-hooks';

/** A device's side of a register write: the word is stored already. `offset` is in bytes within the page. */
export type RegisterHandler = (offset: number, value: number) => void;

/** Finds who handles writes to a page of registers in this thread. */
export type DeviceResolver = (page: Address) => RegisterHandler | undefined;

/** A mapped page of registers. */
export class SimRegisters implements Registers {
  private words: Uint32Array;
  private first: number;

  /**
   * @param memory where the page is.
   * @param pages the mapping.
   * @param page its address.
   * @param device called after each write, in the writer's thread.
   */
  constructor(
    memory: Memory,
    private readonly pages: MappedPages,
    page: Address,
    private device: RegisterHandler,
  ) {
    this.words = memory.words;
    this.first = page >>> 2;
  }

  /** Stores the word, then tells the device. */
  write32(offset: number, value: number): void {
    if ((offset & ~(PAGE_BYTES - 4)) !== 0) throw misplaced(offset);
    Atomics.store(this.words, this.first + (offset >>> 2), value);
    this.device(offset, value);
  }

  /** The word as it is. */
  read32(offset: number): number {
    if ((offset & ~(PAGE_BYTES - 4)) !== 0) throw misplaced(offset);
    return Atomics.load(this.words, this.first + (offset >>> 2));
  }

  /**
   * Unmaps the page. Whoever still writes, such as a plugin whose registers were taken from it, reaches nothing: the
   * page may be anybody's by then. Idempotent.
   */
  unmap(): void {
    this.words = new Uint32Array(PAGE_BYTES >>> 2);
    this.first = 0;
    this.device = () => undefined;
    this.pages.unmap();
  }
}

function misplaced(offset: number): RangeError {
  return new RangeError(`register offset ${offset}: a multiple of 4 below ${PAGE_BYTES} expected`);
}
