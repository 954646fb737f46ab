/** `/mqtt/setaside…`: what upstream brokers did not take. */
import { formatSentence, toMeshError } from '../../core/errors.ts'
import type { Durability, QueueEntry } from '../../protocols/mqtt/durability.ts'
import { SetAside, type Chosen } from '../../protocols/mqtt/set-aside.ts'
import type { AdminPage, AdminReply } from './server.ts'

const MAX_SHOWN = 100
const MAX_PAYLOAD_BYTES = 1_024

export function createSetAsidePages(durability: Durability): readonly (readonly [string, AdminPage])[] {
  const aside = new SetAside(durability)
  return [
    [
      '/mqtt/setaside',
      {
        method: 'GET',
        help: 'messages that upstream brokers did not take (?session=CLUSTER/CLIENT-ID shows them, &after=NUMBER)',
        handle: async (query) => {
          const session = query.get('session')
          if (session === null) return answer(aside.list())
          const entries = await aside.show(session, Number(query.get('after') ?? 0), MAX_SHOWN)
          return entries ? answer(entries.map(describeEntry)) : unknown(session)
        },
      },
    ],
    [
      '/mqtt/setaside/purge',
      {
        method: 'POST',
        help: 'throws them away (?session=CLUSTER/CLIENT-ID, &seq=NUMBER for one)',
        handle: (query) => change(query, async (session, chosen) => aside.purge(session, chosen)),
      },
    ],
    [
      '/mqtt/setaside/requeue',
      {
        method: 'POST',
        help: 'gives them to the upstream broker once more (?session=CLUSTER/CLIENT-ID, &seq=NUMBER for one)',
        handle: (query) => change(query, async (session, chosen) => aside.requeue(session, chosen)),
      },
    ],
  ]
}

async function change(
  query: URLSearchParams,
  act: (session: string, chosen: Chosen) => Promise<number | 'no route' | undefined>,
): Promise<AdminReply> {
  const session = query.get('session')
  const numbers = query.getAll('seq').map(Number)
  if (session === null || numbers.some((seq) => !Number.isSafeInteger(seq)))
    return { status: 400, body: 'name the session: ?session=CLUSTER/CLIENT-ID, and messages by &seq=NUMBER\n' }
  try {
    const count = await act(session, numbers.length > 0 ? new Set(numbers) : undefined)
    if (count === undefined) return unknown(session)
    if (count === 'no route') return { status: 409, body: `no route goes up in session ${session} any more\n` }
    return answer({ session, messages: count })
  } catch (thrown) {
    return { status: 503, body: `${formatSentence(toMeshError(thrown))}\n` }
  }
}

function describeEntry({ seq, message: { topic, payload, qos, retain } }: QueueEntry): object {
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.length, MAX_PAYLOAD_BYTES))
  return { seq, topic, qos, retain, payloadBytes: payload.length, payloadBase64: bytes.toString('base64') }
}
const answer = (value: unknown): AdminReply => ({
  type: 'application/json',
  body: `${JSON.stringify(value, undefined, 1)}\n`,
})
const unknown = (session: string): AdminReply => ({
  status: 404,
  body: `nothing was set aside of session ${session}; /mqtt/setaside lists them\n`,
})
