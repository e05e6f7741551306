/**
 * Capture files: pcap and pcapng, read and written.
 *
 * Reading takes either format, either byte order, micro- and nanoseconds, and keeps what it could read of a
 * damaged file. Writing is for frames as they pass: see {@link CaptureWriter}.
 */
export {
  type CaptureConsequence,
  type CaptureFault,
  type CaptureFaultCode,
  CaptureFileError,
  type CaptureFileErrorCode,
  describeCaptureFault,
} from './fault.js';
export { CaptureLimits } from './layouts.js';
export {
  CaptureDirection,
  type CapturedPacket,
  type CaptureFormat,
  type CaptureInterface,
  type CaptureStatistics,
  type CaptureTime,
} from './packet.js';
export { type Capture, CaptureReader, DEFAULT_CAPTURE_BYTES, readCapture } from './reader.js';
export type { CaptureSink, LentBuffer } from './staging.js';
export {
  type CaptureCounters,
  captureFormatOf,
  CaptureWriter,
  type CaptureWriterInterface,
  type CaptureWriterOptions,
} from './writer.js';
