import * as z from 'zod'
import { NAMESPACE, sparkplug } from './sparkplug.ts'
import { findTemplateProblem } from './topic-template.ts'

/** MQTT-4.7.1-1, MQTT-4.7.1-2, MQTT-4.7.3-2. */
export function isTopicFilter(filter: string): boolean {
  const levels = filter.split('/')
  return (
    !filter.includes('\0') &&
    levels.every((level, i) => !/[+#]/.test(level) || level === '+' || (level === '#' && i === levels.length - 1))
  )
}
export const topicFilter = () =>
  z
    .string()
    .min(1)
    .max(65_535)
    .refine(
      isTopicFilter,
      'is not a topic filter: `+` and `#` stand alone between slashes, and `#` only at the end (MQTT 5.0 §4.7.1)',
    )
const qos = () => z.union([z.literal(0), z.literal(1), z.literal(2)])

const fields = () =>
  z.strictObject({
    /** Topic filter (MQTT 5.0 §4.7) of local topics for `up` and `both`, of upstream topics for `down`. */
    match: topicFilter(),
    direction: z.enum(['up', 'down', 'both']),
    /** Name of the cluster whose endpoints are the upstream broker. */
    cluster: z.string().min(1),
    /** QoS of what passes the route is at least and at most this; default: what the message has. */
    minQos: qos().default(0),
    maxQos: qos().default(2),
    /** The topic on the other side (topic-template.ts); default: what the two below make of it. */
    topic: z.string().max(65_535).optional(),
    /** Taken off the front of the topic, then `addPrefix` is put before it. */
    stripPrefix: z.string().default(''),
    addPrefix: z.string().default(''),
    /** RETAIN of what passes (MQTT 5.0 §3.3.1.3). */
    retain: z.enum(['keep', 'clear', 'set']).default('keep'),
    /** Whether what is retained on one side goes to the other when the route begins. */
    sendRetained: z.boolean().default(true),
    /** What has not passed after this time expires; what a message says of itself counts when it is sooner. */
    ttlSec: z.number().int().positive().max(0xffff_ffff).optional(),
    /**
     * Client id towards the upstream broker; default `<node>/<cluster>`. Routes with the same cluster and id share a
     * session.
     */
    clientId: z.string().min(1).max(65_535).optional(),
    /** Of what goes up: a higher one is sent first. */
    priority: z.number().int().min(0).max(9).default(0),
    /**
     * Of what goes up: in the order in which it was published, or what is published while the upstream broker is
     * connected before what waited for that.
     */
    order: z.enum(['backlog-first', 'live-first']).default('backlog-first'),
    /** Of what goes up, in a queue of its own then. */
    maxQueuedMessages: z.number().int().positive().optional(),
    maxQueuedBytes: z.number().int().positive().optional(),
    /** Of what goes up: it leaves so much of the disk to what is more important. */
    minDiskFreeBytes: z.number().int().positive().optional(),
    /**
     * Of what goes up, when its own bounds or those of the spool are met; default: `spool.whenFull`. Routes that share a
     * queue refuse when one of them does.
     */
    whenFull: z.enum(['refuse', 'drop-oldest', 'drop-newest', 'drop-lowest-priority']).optional(),
    /** What goes up is Sparkplug B, and is stored and forwarded as that standard wants it; QoS 0 goes with QoS 1. */
    sparkplug: sparkplug().optional(),
  })
type Fields = z.infer<ReturnType<typeof fields>>

const ABOUT_UP = 'is about what goes up: leave it out with direction `down`'

type Problem = { readonly at: keyof Fields; readonly message: string }
function problems(r: Fields): readonly Problem[] {
  const isTwoWay = r.direction === 'both'
  const found: Problem[] = []
  const add = (at: keyof Fields, message: string | undefined): void => {
    if (message !== undefined) found.push({ at, message })
  }
  if (r.direction === 'down')
    for (const at of ['priority', 'maxQueuedMessages', 'maxQueuedBytes', 'minDiskFreeBytes'] as const)
      if (r[at] !== undefined && r[at] !== 0) add(at, ABOUT_UP)
  if (r.direction === 'down' && r.order === 'live-first') add('order', ABOUT_UP)
  if (r.minQos > r.maxQos) add('minQos', `must not be above maxQos, which is ${r.maxQos}`)
  if (r.direction === 'up' && r.match.startsWith('$share/'))
    add(
      'match',
      'is a shared subscription, which no message of this broker matches: an `up` route has a plain filter, write what stands behind `$share/<group>/`',
    )
  if (isTwoWay && r.match.startsWith('$share/'))
    add('match', 'is a shared subscription, which has one direction: use `down`')
  if (r.topic !== undefined) {
    add('topic', findTemplateProblem(r.topic, { match: r.match, isTwoWay }))
    if (r.stripPrefix !== '' || r.addPrefix !== '')
      add('topic', 'stands in for stripPrefix and addPrefix: leave those out')
  } else if (isTwoWay && !isPrefixOf(r.stripPrefix, r.match))
    add('stripPrefix', `must be the beginning of match before its first wildcard with direction \`both\``)
  add('sparkplug', r.sparkplug && findSparkplugProblem(r))
  return found
}
function findSparkplugProblem(r: Fields): string | undefined {
  if (r.direction === 'down') return ABOUT_UP
  if (!r.match.startsWith(`${NAMESPACE}/`))
    return `is about topics of Sparkplug B: \`match\` must begin with \`${NAMESPACE}/\``
  if (r.topic !== undefined || r.stripPrefix !== '' || r.addPrefix !== '')
    return `leaves topics as they are, which begin with \`${NAMESPACE}/\` on both sides: leave topic, stripPrefix and addPrefix out`
  if (r.order === 'live-first')
    return 'keeps the order of sequence numbers, which `live-first` does not: leave `order` out'
  if (r.sparkplug?.legacyState === true && r.sparkplug.hostId === undefined)
    return 'has `legacyState`, which is about the host of `hostId`: name that'
  return undefined
}
function isPrefixOf(prefix: string, match: string): boolean {
  return match.startsWith(prefix) && !/[+#]/.test(prefix)
}

export const route = () =>
  fields().superRefine((r, ctx) => {
    for (const { at, message } of problems(r)) ctx.addIssue({ code: 'custom', path: [at], message })
  })
export type MqttRoute = z.infer<ReturnType<typeof route>>

const MAX_QUEUES = 8

export const isBounded = (r: MqttRoute): boolean =>
  (r.maxQueuedMessages ?? r.maxQueuedBytes ?? r.minDiskFreeBytes) !== undefined

/**
 * Which queue of its session a route has, or which two with `live-first`. Those without bounds of their own share one
 * when they have the same priority, order and way to overflow, where `refuse`, `drop-oldest` and none said are one: it
 * refuses when one of them says so. Those of Sparkplug share one with their like only: all that is in it waits for the
 * same host.
 */
export function nameLane(r: MqttRoute): string {
  const { sparkplug: how } = r
  const sparkplugKey = how ? ['sparkplug', how.hostId, how.legacyState, how.rebirth, how.rebirthIntervalSec] : []
  if (isBounded(r)) return JSON.stringify(['route', r.match, r.topic ?? [r.stripPrefix, r.addPrefix], ...sparkplugKey])
  const isPlain = r.whenFull === undefined || r.whenFull === 'refuse' || r.whenFull === 'drop-oldest'
  const kind = ['priority', r.priority, isPlain ? 'plain' : r.whenFull, ...sparkplugKey]
  return JSON.stringify(r.order === 'live-first' ? [...kind, r.order] : kind)
}

export const routes = () =>
  z.array(route()).superRefine((all, ctx) => {
    const sessions = new Map<string, Map<string, number>>()
    for (const [i, r] of all.entries()) {
      if (r.direction === 'down') continue
      const session = JSON.stringify([r.cluster, r.clientId])
      const queues = sessions.get(session) ?? new Map<string, number>()
      const before = queues.get(nameLane(r)) ?? 0
      const after = Math.max(before, r.order === 'live-first' ? 2 : 1)
      sessions.set(session, queues.set(nameLane(r), after))
      if (after > before && [...queues.values()].reduce((sum, one) => sum + one) > MAX_QUEUES)
        ctx.addIssue({
          code: 'custom',
          path: [i],
          message: `is one too many: the routes of a session have at most ${MAX_QUEUES} queues, one for each priority and one for each route with bounds, two with \`live-first\`. Leave bounds or priorities out, or give it a clientId`,
        })
    }
  })
