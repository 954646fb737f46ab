/** What `--where` can ask about a device, and the columns of its tables. */
import type { FleetRow } from './fleet-row.ts'

export type FieldType = 'text' | 'number' | 'boolean' | 'time'
/** Undefined: it is not known of this device. */
export type FieldValue = string | number | boolean | undefined
export type Field = {
  readonly type: FieldType
  readonly help: string
  /** Several: a comparison holds where it holds for one of them. */
  readonly read: (row: FleetRow) => FieldValue | readonly FieldValue[]
}

const field = (type: FieldType, help: string, read: Field['read']): Field => ({ type, help, read })

export const FIELDS: ReadonlyMap<string, Field> = new Map<string, Field>([
  ['name', field('text', 'name of the device', (r) => r.name)],
  ['state', field('text', 'connected, gone, or unknown where no hub runs', (r) => r.state)],
  ['connected', field('boolean', 'it has a stream to the hub now', (r) => r.connected)],
  ['seen', field('time', 'last sign of life', (r) => r.seen)],
  ['since', field('time', 'since when it is connected; else when it was seen last', (r) => r.since)],
  ['joined', field('time', 'when it joined', (r) => r.joined)],
  ['address', field('text', 'address that it came from last', (r) => r.address)],
  ['identity', field('text', 'its SPIFFE id', (r) => r.identity)],
  ['namespace', field('text', 'the namespace of that', (r) => r.namespace)],
  ['enrolled', field('text', 'active, suspended or revoked; of devices with a key', (r) => r.enrolled)],
  ['cloned', field('boolean', 'two copies of its key were found', (r) => r.cloned)],
  ['ends', field('time', 'end of its certificate', (r) => r.certificateEnds)],
  ['revision', field('text', 'revision in force', (r) => r.revision)],
  ['desired', field('text', 'revision that it was sent last', (r) => r.desired)],
  ['taken', field('time', 'when it had taken all of that', (r) => r.taken)],
  ['current', field('boolean', 'all that it was sent is in force', (r) => r.current)],
  ['refused', field('number', 'resources that it refuses', (r) => r.refused)],
  ['reported', field('time', 'its last report', (r) => r.reported)],
  ['version', field('text', 'version of meshlet', (r) => r.version)],
  ['ready', field('boolean', 'it serves', (r) => r.ready)],
  ['started', field('time', 'when its process began, by its clock', (r) => r.started)],
  ['restarts', field('number', 'times that it was seen to start anew', (r) => r.restarts)],
  ['clock', field('boolean', 'its clock can be believed', (r) => r.clock)],
  ['problems', field('number', 'what its status says is wrong', (r) => r.problems)],
  ['problem', field('text', 'the code of one of those', (r) => r.problem)],
  ['rtt', field('number', 'round trip to the hub, milliseconds', (r) => r.rttMs)],
  ['bytes', field('number', 'to and from the hub since it started', (r) => r.bytes)],
  ['requests', field('number', 'HTTP requests since it started', (r) => r.requests)],
  ['failures', field('number', 'those that were answered with a 5xx, or not at all', (r) => r.failures)],
  ['drops', field('number', 'messages that somebody did not get', (r) => r.drops)],
  ['spool', field('number', 'messages in its spool', (r) => r.spool)],
  ['waiting', field('time', 'since when its spool holds messages', (r) => r.spoolSince)],
  ['queue', field('number', 'messages in its deepest MQTT queue', (r) => r.queue)],
  ['down', field('number', 'services none of whose endpoints can be reached', (r) => r.down)],
])
export const LABEL_PREFIX = 'label.'

/** Undefined: there is none. */
export function findField(name: string): Field | undefined {
  if (!name.startsWith(LABEL_PREFIX)) return FIELDS.get(name)
  const label = name.slice(LABEL_PREFIX.length)
  return label === ''
    ? undefined
    : field('text', 'a label', ({ labels }) => (Object.hasOwn(labels, label) ? labels[label] : undefined))
}

/** For `--help`. */
export function describeFields(): string {
  return [...FIELDS].map(([name, { type, help }]) => `  ${name.padEnd(11)} ${type.padEnd(8)} ${help}`).join('\n')
}
