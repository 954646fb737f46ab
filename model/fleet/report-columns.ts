/**
 * Services and MQTT queues of a report, column by column: names, which are long and seldom change, apart from numbers,
 * which are short. Rows are in the order of their names, so that another order is no change. A device that names none
 * leaves all of them out.
 *
 * | field | what                                                               | worth a message alone |
 * | ----- | ------------------------------------------------------------------ | --------------------- |
 * | 15    | how many services have no row, and the names of the others         | yes                   |
 * | 16    | endpoints and healthy ones of each                                 | yes                   |
 * | 17    | connections of each                                                | no                    |
 * | 18    | kind and name of each queue                                        | no                    |
 * | 19    | sums of queues without a row; state, messages, bytes, drops, since | no                    |
 */
import { Writer, type Reader } from '../../core/relay/text.ts'
import { REPORT_LIMITS } from './report.ts'
import {
  QUEUE_KINDS,
  QUEUE_STATES,
  type QueueKind,
  type QueueSums,
  type ReportDetails,
  type ReportedQueue,
  type ReportedQueues,
  type ReportedService,
  type ReportedServices,
} from './report-details.ts'
import {
  makeReportError,
  shorten,
  readLarge,
  readList,
  readText,
  readTime,
  writeLarge,
  writeText,
  writeTime,
} from './report-values.ts'

const { rows: MAX_ROWS, rowNameChars: MAX_NAME } = REPORT_LIMITS
/** Of the names of services, and of those of queues: with everything else they fit into a report. */
const MAX_NAMES_BYTES = 5_000

type QueueName = Pick<ReportedQueue, 'kind' | 'name'>
type QueueNumbers = Omit<ReportedQueue, keyof QueueName>
export type Columns = {
  readonly services: { readonly more: number; readonly names: readonly string[] }
  readonly health: readonly Pick<ReportedService, 'endpoints' | 'healthy'>[]
  readonly connections: readonly number[]
  readonly queues: readonly QueueName[]
  readonly numbers: { readonly more: ReportedQueues['more']; readonly each: readonly QueueNumbers[] }
}

type Column = {
  readonly isState: boolean
  readonly write: (details: ReportDetails, writer: Writer) => void
  readonly read: (reader: Reader) => Partial<Columns>
}
const COLUMNS: ReadonlyMap<number, Column> = new Map<number, Column>([
  [15, { isState: true, write: writeServiceNames, read: readServiceNames }],
  [16, { isState: true, write: writeHealth, read: readHealth }],
  [17, { isState: false, write: writeConnections, read: readConnections }],
  [18, { isState: false, write: writeQueueNames, read: readQueueNames }],
  [19, { isState: false, write: writeQueueNumbers, read: readQueueNumbers }],
])

export function isStateColumn(number: number): boolean {
  return COLUMNS.get(number)?.isState ?? false
}

export function splitColumns(details: ReportDetails): [number, Buffer][] {
  const fitting = { services: fitServices(details.services), queues: fitQueues(details.queues) }
  return [...COLUMNS].map(([number, { write }]) => {
    const writer = new Writer()
    write(fitting, writer)
    return [number, writer.finish()]
  })
}

/** Undefined: there is no such column. Throws MESH_CONTROL_PROTOCOL. */
export function readColumn(number: number, reader: Reader): Partial<Columns> | undefined {
  return COLUMNS.get(number)?.read(reader)
}

/**
 * @param before what a column that has not come says
 * @returns undefined: the device does not say. Throws MESH_CONTROL_PROTOCOL where columns are missing or differ in length.
 */
export function joinColumns(columns: Partial<Columns>, before: ReportDetails | undefined): ReportDetails | undefined {
  const came = Object.keys(columns).length
  if (came === 0) return before
  if (!before && came < COLUMNS.size)
    throw makeReportError(`it begins to name services and queues with ${came} columns`)
  const all = { ...(before && toColumns(before)), ...columns } as Columns
  const { services, health, connections, queues, numbers } = all
  if (health.length !== services.names.length || connections.length !== health.length)
    throw makeReportError(
      `it has ${services.names.length} services and numbers of ${health.length} and ${connections.length}`,
    )
  if (numbers.each.length !== queues.length)
    throw makeReportError(`it has ${queues.length} queues and numbers of ${numbers.each.length}`)
  return {
    services: {
      rows: services.names.map((name, i) => ({ name, ...health[i]!, connections: connections[i]! })),
      more: services.more,
    },
    queues: { rows: queues.map((queue, i) => ({ ...queue, ...numbers.each[i]! })), more: numbers.more },
  }
}

function toColumns({ services, queues }: ReportDetails): Columns {
  return {
    services: { more: services.more, names: services.rows.map(({ name }) => name) },
    health: services.rows.map(({ endpoints, healthy }) => ({ endpoints, healthy })),
    connections: services.rows.map(({ connections }) => connections),
    queues: queues.rows.map(({ kind, name }) => ({ kind, name })),
    numbers: {
      more: queues.more,
      each: queues.rows.map(({ state, messages, bytes, drops, sinceMs }) => ({
        state,
        messages,
        bytes,
        drops,
        sinceMs,
      })),
    },
  }
}

/** Those that come first, which are the worst; in the order of their names then. */
function fitServices({ rows, more }: ReportedServices): ReportedServices {
  const fitting = takeFitting(rows)
  return { rows: sortByName(fitting), more: more + (rows.length - fitting.length) }
}
function fitQueues({ rows, more }: ReportedQueues): ReportedQueues {
  const fitting = takeFitting(rows)
  const left = rows.slice(fitting.length)
  return { rows: sortByName(fitting), more: { queues: more.queues + left.length, ...addQueues(more, left) } }
}
function takeFitting<T extends { readonly name: string }>(rows: readonly T[]): readonly T[] {
  let bytes = 0
  const fitting: T[] = []
  for (const row of rows.slice(0, MAX_ROWS)) {
    const name = shorten(row.name, MAX_NAME)
    bytes += Buffer.byteLength(name)
    if (bytes > MAX_NAMES_BYTES) break
    fitting.push({ ...row, name })
  }
  return fitting
}
const sortByName = <T extends { readonly name: string }>(rows: readonly T[]): readonly T[] =>
  rows.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))

export function addQueues(to: QueueSums, queues: readonly QueueSums[]): QueueSums {
  const sum = (read: (q: QueueSums) => number): number => queues.reduce((all, q) => all + read(q), read(to))
  return { messages: sum((q) => q.messages), bytes: sum((q) => q.bytes), drops: sum((q) => q.drops) }
}

function writeServiceNames({ services: { rows, more } }: ReportDetails, writer: Writer): void {
  writeLarge(writer, more)
  writer.number(rows.length)
  for (const { name } of rows) writeText(writer, name, MAX_NAME)
}
function readServiceNames(reader: Reader): Pick<Columns, 'services'> {
  return { services: { more: readLarge(reader), names: readRows(reader, () => readText(reader, MAX_NAME)) } }
}

function writeHealth({ services: { rows } }: ReportDetails, writer: Writer): void {
  writer.number(rows.length)
  for (const { endpoints, healthy } of rows) {
    writeLarge(writer, endpoints)
    writeLarge(writer, healthy)
  }
}
function readHealth(reader: Reader): Pick<Columns, 'health'> {
  return { health: readRows(reader, () => ({ endpoints: readLarge(reader), healthy: readLarge(reader) })) }
}

function writeConnections({ services: { rows } }: ReportDetails, writer: Writer): void {
  writer.number(rows.length)
  for (const { connections } of rows) writeLarge(writer, connections)
}
function readConnections(reader: Reader): Pick<Columns, 'connections'> {
  return { connections: readRows(reader, () => readLarge(reader)) }
}

function writeQueueNames({ queues: { rows } }: ReportDetails, writer: Writer): void {
  writer.number(rows.length)
  for (const { kind, name } of rows) {
    writer.number(QUEUE_KINDS.indexOf(kind))
    writeText(writer, name, MAX_NAME)
  }
}
function readQueueNames(reader: Reader): Pick<Columns, 'queues'> {
  return {
    queues: readRows(reader, () => ({
      kind: readOneOf<QueueKind>(reader, QUEUE_KINDS),
      name: readText(reader, MAX_NAME),
    })),
  }
}

function writeQueueNumbers({ queues: { rows, more } }: ReportDetails, writer: Writer): void {
  writeLarge(writer, more.queues)
  writeSums(writer, more)
  writer.number(rows.length)
  for (const row of rows) {
    writer.number(QUEUE_STATES.indexOf(row.state))
    writeSums(writer, row)
    writeTime(writer, row.sinceMs)
  }
}
function readQueueNumbers(reader: Reader): Pick<Columns, 'numbers'> {
  const more = { queues: readLarge(reader), ...readSums(reader) }
  const each = readRows(reader, () => ({
    state: readOneOf(reader, QUEUE_STATES),
    ...readSums(reader),
    sinceMs: readTime(reader),
  }))
  return { numbers: { more, each } }
}
function writeSums(writer: Writer, { messages, bytes, drops }: QueueSums): void {
  for (const count of [messages, bytes, drops]) writeLarge(writer, count)
}
function readSums(reader: Reader): QueueSums {
  return { messages: readLarge(reader), bytes: readLarge(reader), drops: readLarge(reader) }
}

const readRows = <T>(reader: Reader, read: () => T): readonly T[] => readList(reader, read, MAX_ROWS)
function readOneOf<T>(reader: Reader, all: readonly T[]): T {
  const found = all[reader.number()]
  if (found === undefined) throw makeReportError('it names a kind or a state that is not known')
  return found
}
