/**
 * The MQTT queues that a report names, the deepest first: those of upstream brokers, and of sessions and set-aside
 * messages those that hold something or have given something up.
 */
import {
  compareQueues,
  type QueueKind,
  type QueueSums,
  type ReportedQueue,
  type ReportedQueues,
} from '../../model/fleet/report-details.ts'
import { addQueues } from '../../model/fleet/report-columns.ts'
import type { StatusParts } from '../admin/status-parts.ts'

type Parts = Pick<StatusParts, 'spool' | 'broker' | 'bridge' | 'clock'>
type Found = QueueSums & { readonly kind: QueueKind; readonly name: string; readonly sinceMs: number | undefined }

/** How names of queues begin (protocols/mqtt/spool/, bridge/plan.ts). */
const PREFIXES = [
  ['session/', 'session'],
  ['up/', 'bridge'],
  ['aside/', 'aside'],
] as const satisfies readonly (readonly [string, QueueKind])[]
const NONE: QueueSums = { messages: 0, bytes: 0, drops: 0 }

/** The result collects them as they are at the moment. @param most that are named */
export function createQueueCollector(p: Parts, most: number): () => ReportedQueues {
  /** As many as hold messages, so the bounds of the spool count. */
  let sinceMs: ReadonlyMap<string, number> = new Map()
  return () => {
    const found = findQueues(p, sinceMs).sort(compareQueues)
    sinceMs = new Map(found.flatMap((q) => (q.sinceMs === undefined ? [] : [[q.name, q.sinceMs]])))
    const left = found.slice(most)
    return {
      rows: found.slice(0, most).map((queue) => describe(queue, p)),
      more: { queues: left.length, ...addQueues(NONE, left) },
    }
  }
}

function findQueues({ spool, clock }: Parts, sinceMs: ReadonlyMap<string, number>): Found[] {
  const nowMs = Math.round(clock.wallMs() / 1_000) * 1_000
  return PREFIXES.flatMap(([prefix, kind]) =>
    spool.queueNames(prefix).flatMap((queueName): Found[] => {
      const queue = spool.queue(queueName)
      if (!queue) return []
      const { depth: messages, bytes } = queue
      const drops = Object.values(queue.drops).reduce((sum, count) => sum + count, 0)
      if (kind !== 'bridge' && messages + drops === 0) return []
      const since = messages === 0 ? undefined : (sinceMs.get(queueName) ?? nowMs)
      return [{ kind, name: queueName, messages, bytes, drops, sinceMs: since }]
    }),
  )
}

function describe({ name: queueName, kind, ...numbers }: Found, { bridge, broker }: Parts): ReportedQueue {
  const name = queueName.slice(queueName.indexOf('/') + 1)
  if (kind !== 'session')
    return { kind, name: formatLane(name), state: bridge.findState(queueName) ?? 'unrouted', ...numbers }
  const [session] = broker.operations.sessions({ prefix: '', after: undefined, limit: 1 }, name).items
  return { kind, name, state: session?.isConnected === true ? 'connected' : 'away', ...numbers }
}

/** Cluster and client id, and behind U+0000 the slot and the key of its lane (bridge/lanes.ts), of which the beginning. */
function formatLane(name: string): string {
  const [session, , ...key] = name.split('\0')
  if (key.length === 0) return session!
  const [, kind, value, tail] = /^\["(\w+)",("[^"]*"|\d+)[^]*\]( live)?$/.exec(key.join(' ')) ?? []
  return kind === undefined ? `${session} ${key.join(' ')}` : `${session} ${kind} ${value}${tail ?? ''}`
}
