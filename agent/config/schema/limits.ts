/** Bounds of connections, requests and memory. */
import * as z from 'zod'
import { bytes, ms } from './fields.ts'

export const limits = () =>
  z.strictObject({
    /**
     * Open at a time, from accept to end: per listener, of all listeners, and per source (an IPv4 address or an IPv6
     * /64). Default: from the memory that the process may have (connection-limits.ts).
     */
    maxConnections: z.number().int().positive().optional(),
    maxConnectionsTotal: z.number().int().positive().optional(),
    maxConnectionsPerSource: z.number().int().positive().optional(),
    maxHeaderBytes: bytes().default(60 * 1024),
    maxHeaderCount: z.number().int().positive().default(100),
    maxReplayBytes: bytes().default(64 * 1024),
    /** What may wait for a peer that takes it slowly, per connection and direction, before no more is read for it. */
    maxBufferBytes: bytes().default(64 * 1024),
    /**
     * Of everything that waits in memory, together. Default: from the memory that the process may have
     * (core/runtime/memory-budget.ts).
     */
    maxQueuedMemoryBytes: bytes().optional(),
    idleMs: ms().default(3_600_000),
    requestHeadMs: ms().default(60_000),
    tlsHandshakeMs: ms().default(10_000),
    drainMs: ms().default(30_000),
    maxHttp2Streams: z.number().int().positive().default(100),
  })
