/**
 * What an HTTP/2 session and its owner say to each other: plain calls in the order of the bytes, none of which returns
 * a promise. Field lists are flat arrays as in message.ts, with the pseudo-header fields first.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../../core/os/clock.ts'
import type { MeshError } from '../../../core/errors.ts'
import type { FieldList } from '../codec/hpack/decoder.ts'
import type { OnRead } from '../codec/h2-frame-reader.ts'
import type { Http2Stream } from './stream/stream.ts'

/** In place of a code of RST_STREAM: the whole connection is over. */
export const CONNECTION_CLOSED = -1

export type SessionOptions = {
  readonly role: 'server' | 'client'
  readonly socket: Duplex
  /** Of the peer's field lists, each field with 32 bytes more (RFC 9113 §6.5.2). */
  readonly maxHeaderListBytes: number
  readonly maxHeaderCount: number
  /** Streams that the peer may have open at once; a client permits none. */
  readonly maxConcurrentStreams: number
  /** Bytes of one stream, and of all together, that may come before the owner has taken them. */
  readonly streamWindowBytes: number
  readonly connectionWindowBytes: number
  /** CONNECT with :protocol (RFC 8441) is permitted. */
  readonly extendedConnect: boolean
  /** For Http2Session.drain. */
  readonly clock?: Clock
  readonly onRead?: OnRead | undefined
}

/** Frames that make work and nothing else, for the budgets of floods.ts. */
export type Http2Event =
  | 'settings'
  | 'pings'
  | 'resets'
  | 'empty frames'
  | 'window updates'
  | 'priorities'
  | 'continuations'
  | 'unread answers'
  | 'repeated fields'

export interface SessionOwner {
  /** Server: a request has begun. The owner sets stream.owner before it returns. */
  onStream(stream: Http2Stream, head: FieldList, end: boolean): void
  /**
   * Server: a request that RFC 9113 §8.1.1 calls malformed. The owner may answer on the stream; it is reset afterwards.
   */
  onMalformed(stream: Http2Stream, fields: readonly string[], problem: string): void
  /** Each such frame, as it comes; destroying the session is the owner's business. */
  onCostlyFrame(what: Http2Event): void
  /** The peer opens no more streams, or takes no more. */
  onGoaway(code: number): void
  /**
   * Once, last; all streams have been told, which on a client may take until an answer that had come in full is read.
   * The socket has been ended: what the peer does not take of the rest, and a peer that does not end its side, are the
   * owner's to bound. @param error undefined = nobody broke anything
   */
  onSessionClose(error: MeshError | undefined): void
}
