/** MQTT clients, sessions, queues and retained messages on the admin port, and what an operator does to them. */
import { escapeForTerminal, toPrintable } from '../../core/printable.ts'
import type { PageOf } from '../../protocols/mqtt/operations/first-names.ts'
import type { Page } from '../../protocols/mqtt/operations/listing.ts'
import type { Operations } from '../../protocols/mqtt/operations/operations.ts'
import { filterProblem } from '../../protocols/mqtt/topics/topics.ts'
import type { AdminHandler, AdminPage, AdminReply } from './server.ts'

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 1_000

export function createMqttPages(mqtt: Operations): [string, AdminPage][] {
  const get = (help: string, handle: AdminHandler): AdminPage => ({ method: 'GET', help, handle })
  const post = (help: string, handle: AdminHandler): AdminPage => ({ method: 'POST', help, handle })
  const list = (page: (of: PageOf, q: URLSearchParams) => Page<object>): AdminHandler => {
    return (q) => paged(q, (of) => page(of, q))
  }
  return [
    [
      '/mqtt/clients',
      get(
        'MQTT clients that are connected (JSON; ?format=text, ?prefix=, ?limit=, ?after=)',
        list((of) => mqtt.clients(of)),
      ),
    ],
    [
      '/mqtt/sessions',
      get(
        'MQTT sessions, also of clients that are away (the same; ?id= one with its subscriptions)',
        list((of, q) => mqtt.sessions(of, q.get('id') ?? undefined)),
      ),
    ],
    [
      '/mqtt/queues',
      get(
        'what waits on the disk, for whom (the same)',
        list((of) => mqtt.queues(of)),
      ),
    ],
    [
      '/mqtt/retained',
      get('retained messages (the same; ?filter=, ?payload=1 with payloads)', (q) => retained(mqtt, q)),
    ],
    ['/mqtt/kick', post('?id= disconnects a client', (q) => kick(mqtt, q.get('id')))],
    [
      '/mqtt/purge',
      post('?session=ID, ?queue=NAME or ?retained=FILTER deletes a session, what waits, retained messages', (q) =>
        purge(mqtt, q),
      ),
    ],
  ]
}

function retained(mqtt: Operations, q: URLSearchParams): AdminReply {
  const filter = q.get('filter') ?? '#'
  const problem = filterProblem(filter)
  if (problem !== undefined) return refused(`?filter= is no topic filter: ${problem}`)
  return paged(q, ({ after, limit }) =>
    mqtt.retained({ filter, after, limit, withPayload: (q.get('payload') ?? '0') !== '0' }),
  )
}

function kick(mqtt: Operations, id: string | null): AdminReply {
  if (id === null) return refused('use ?id= with a client id')
  if (!mqtt.kick(id)) return { status: 404, body: `no client ${toPrintable(id)} is connected\n` }
  return { body: `disconnected ${toPrintable(id)}\n` }
}

async function purge(mqtt: Operations, q: URLSearchParams): Promise<AdminReply> {
  const given = ['session', 'queue', 'retained'].filter((name) => q.has(name))
  const [name] = given
  if (name === undefined || given.length > 1) return refused('use one of ?session=, ?queue= and ?retained=')
  const of = q.get(name) ?? ''
  const shown = toPrintable(of)
  switch (name) {
    case 'session':
      if (!(await mqtt.purgeSession(of))) return { status: 404, body: `there is no session ${shown}\n` }
      return { body: `ended session ${shown}\n` }
    case 'queue': {
      const messages = await mqtt.purgeQueue(of)
      if (messages === undefined) return { status: 404, body: `there is no queue ${shown}\n` }
      return { body: `deleted ${messages} messages from ${shown}\n` }
    }
    default: {
      const problem = filterProblem(of)
      if (problem !== undefined) return refused(`?retained= is no topic filter: ${problem}`)
      return { body: `deleted ${await mqtt.purgeRetained(of)} retained messages\n` }
    }
  }
}

function paged(q: URLSearchParams, page: (of: PageOf) => Page<object>): AdminReply {
  const limit = Number(q.get('limit') ?? DEFAULT_LIMIT)
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) return refused(`?limit= must be 1 to ${MAX_LIMIT}`)
  const found = page({ prefix: q.get('prefix') ?? '', after: q.get('after') ?? undefined, limit })
  if (q.get('format') === 'text') return { body: table(found) }
  // What a terminal would obey is written as JSON's own escapes, so that the names stay what they are.
  return { type: 'application/json', body: `${escapeForTerminal(JSON.stringify(found, null, 1))}\n` }
}

/** Columns as wide as needed; at most so much of one name. */
const MAX_COLUMN_CHARS = 60
function table({ items, total, next }: Page<object>): string {
  const names = Object.keys(items[0] ?? {})
  const rows = [names, ...items.map((item) => names.map((name) => cell(valueOf(item, name))))]
  const widths = names.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  const lines = rows.map((row) =>
    row
      .map((text, i) => text.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  )
  const more = next === undefined ? '' : `, the next after ${JSON.stringify(toPrintable(next))}`
  return `${names.length === 0 ? '' : `${lines.join('\n')}\n`}${items.length} of ${total}${more}\n`
}
const valueOf = (item: object, name: string): unknown => (item as Readonly<Record<string, unknown>>)[name]
function cell(value: unknown): string {
  const text = toPrintable(textOf(value))
  if (text === '') return '-'
  return text.length > MAX_COLUMN_CHARS ? `${text.slice(0, MAX_COLUMN_CHARS - 1)}…` : text
}
function textOf(value: unknown): string {
  if (value === undefined) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'object' ? queueText(value) : String(value as number)
}
function queueText(value: object | null): string {
  const { messages, bytes } = (value ?? {}) as { messages?: number; bytes?: number }
  if (messages !== undefined) return messages === 0 ? '0' : `${messages} (${bytes} bytes)`
  const counts = Object.entries(value ?? {})
  return !Array.isArray(value) && counts.every(([, count]) => typeof count === 'number')
    ? counts.map(([reason, count]) => `${reason} ${count}`).join(', ')
    : JSON.stringify(value)
}

/** For the page at `/`: how many there are, and whose queues are the fullest. */
export function formatMqtt(
  mqtt: Operations,
  { sessions, retained: topics }: { readonly sessions: number; readonly retained: number },
): string {
  const clients = mqtt.clients({ prefix: '', after: undefined, limit: 1 }).total
  const { items, total } = mqtt.queues({ prefix: '', after: undefined, limit: MAX_LIMIT })
  const fullest = items
    .filter(({ messages }) => messages > 0)
    .toSorted((a, b) => b.bytes - a.bytes)
    .slice(0, 5)
    .map(({ name, messages, bytes }) => `  ${toPrintable(name)}: ${messages} messages, ${bytes} bytes\n`)
    .join('')
  return (
    `MQTT: ${clients} clients connected, ${sessions} sessions, ${topics} retained messages, ${total} queues\n` +
    (fullest === '' ? '' : `Fullest of the first ${items.length} queues:\n${fullest}`)
  )
}

function refused(why: string): AdminReply {
  return { status: 400, body: `${why}\n` }
}
