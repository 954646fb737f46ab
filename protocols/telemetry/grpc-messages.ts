/**
 * Counts the messages of gRPC in both directions of one request, as grpc_stats does: by the five bytes before each
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message).
 */
import type { LabelValues } from './labels.ts'

const PREFIX_BYTES = 5

/** Counts a message when its prefix is whole; nothing is kept of it. */
export class GrpcMessageCount {
  count = 0
  #prefixBytes = 0
  #length = 0
  #rest = 0

  add(chunk: Buffer): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#rest > 0) {
        const skipped = Math.min(this.#rest, chunk.length - at)
        this.#rest -= skipped
        at += skipped
        continue
      }
      // The first byte says whether it is compressed.
      if (this.#prefixBytes > 0) this.#length = this.#length * 256 + chunk[at]!
      at++
      if (++this.#prefixBytes < PREFIX_BYTES) continue
      this.count++
      this.#rest = this.#length
      this.#prefixBytes = this.#length = 0
    }
  }
}

/** Of one request. */
export class GrpcMessages {
  readonly requests = new GrpcMessageCount()
  readonly responses = new GrpcMessageCount()
  /** What expressions gave for labels when messages were counted first. */
  labels: LabelValues | undefined
  #reportedRequests = 0
  #reportedResponses = 0

  /** What has come since the last time. */
  take(): { readonly requests: number; readonly responses: number } {
    const taken = {
      requests: this.requests.count - this.#reportedRequests,
      responses: this.responses.count - this.#reportedResponses,
    }
    this.#reportedRequests = this.requests.count
    this.#reportedResponses = this.responses.count
    return taken
  }
}
