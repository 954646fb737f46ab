import * as z from 'zod'

const count = () => z.number().int().positive()

/**
 * What one user may have and send, or one certificate where no user is proved, or one address where neither is. The
 * first that is about a client is its quota.
 */
export const quota = () =>
  z.strictObject({
    /** As in the rules: exact or with a trailing `*`; none = whoever it is. */
    users: z.array(z.string()).default([]),
    groups: z.array(z.string()).default([]),
    principals: z.array(z.string()).default([]),
    maxConnections: count().optional(),
    /** Connected and kept. */
    maxSessions: count().optional(),
    /** Of PUBLISH packets, of all connections together; in one go as much as in a second. */
    maxMessagesPerSec: count().optional(),
    maxBytesPerSec: count().optional(),
    /** What waits in the spool for its sessions. */
    maxQueuedBytes: count().optional(),
    /** What waits for its sessions leaves so much of the disk to others. */
    minDiskFreeBytes: count().optional(),
  })
export type Quota = z.infer<ReturnType<typeof quota>>
