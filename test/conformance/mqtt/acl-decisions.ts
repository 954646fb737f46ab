/** Acl files, users and topics by chance, and what a broker decides about them. */
import { connectAsync, type MqttClient } from 'mqtt'
import type { Random } from '../../../core/os/clock.ts'
import type { Finally } from '../programs.ts'

/** Has every right by lines of its own, so that no pattern takes any away from it. */
export const ROOT = 'root'
const ROOT_LINES = [`user ${ROOT}`, 'topic readwrite #', 'topic readwrite $x/#']
export type Who = { readonly clientId: string; readonly user: string | undefined }

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random.float() * from.length)]!
const some = (random: Random, most: number): number => 1 + Math.floor(random.float() * most)

const NAMES = ['ana', 'bob', 'site 7', '$x', 'ü', 'a']
const LEVELS = ['a', 'b', 'ana', 'bob', 'dev-1', '', 'site 7', 'ü', '%c', '%u', 'c', 'u']
const PARTS = ['%c', '%u', 'x-%c', '%u%c', '%c-%u', '%count', '%', '%%c', '%C']

function filterOf(random: Random, isPattern: boolean): string {
  const levels: string[] = []
  if (random.float() < 0.15) levels.push('$x')
  for (let i = some(random, 3); i > 0; i--) {
    const of = random.float()
    levels.push(of < 0.2 ? '+' : isPattern && of < 0.65 ? pick(random, PARTS) : pick(random, LEVELS))
  }
  if (random.float() < 0.3) levels.push('#')
  const filter = levels.join('/')
  return filter.trim() === '' ? 'a' : filter
}
export function aclLines(random: Random): string[] {
  const lines = ['# by chance']
  const line = (what: 'topic' | 'pattern'): string => {
    const filter = filterOf(random, what === 'pattern')
    // Without a right in front a topic is one word.
    const rights = ['read ', 'write ', 'readwrite ', 'deny ', 'read  ', ...(filter.includes(' ') ? [] : [''])]
    return `${what} ${pick(random, rights)}${filter}`
  }
  for (let i = some(random, 3); i > 0; i--) lines.push(line('topic'))
  for (let i = some(random, 5); i > 0; i--) {
    lines.push(`user ${pick(random, NAMES)}`)
    for (let k = some(random, 5); k > 0; k--) lines.push(line(random.float() < 0.2 ? 'pattern' : 'topic'))
  }
  if (random.float() < 0.8) for (let i = some(random, 4); i > 0; i--) lines.push(line('pattern'))
  return [...lines, ...ROOT_LINES]
}
/** Names with `/` are left out: that is where meshlet says no and mosquitto yes. */
export function whoAsks(random: Random): Who[] {
  const ids = ['dev-1', 'ana', 'a', '$x', 'ü', 'c+', 'c#d', '%u']
  return Array.from({ length: 5 }, (_, i) => ({
    clientId: `${pick(random, ids)}${i === 0 ? '' : `.${i}`}`,
    user: random.float() < 0.3 ? undefined : pick(random, [...NAMES, 'nobody', 'b+', '%c']),
  }))
}
/** Half of them are what some line is about. */
export function topicsFor(random: Random, who: readonly Who[], lines: readonly string[]): string[] {
  const filters = lines.flatMap(
    (line) => /^(?:topic|pattern) (?:(?:read|write|readwrite|deny) +)?(.*)$/.exec(line)?.[1] ?? [],
  )
  const found = new Set<string>()
  while (found.size < 24) {
    const one = pick(random, who)
    const anyLevel = (): string =>
      pick(random, [...LEVELS, one.clientId, one.user ?? 'a', `x-${one.clientId}`, `${one.user ?? ''}${one.clientId}`])
    const levels =
      random.float() < 0.5
        ? Array.from({ length: some(random, 4) }, anyLevel)
        : pick(random, filters)
            .split('/')
            .map((level) => (level === '+' || level === '#' ? anyLevel() : level))
            .map((level) => level.replaceAll('%c', one.clientId).replaceAll('%u', one.user ?? 'a'))
    if (random.float() < 0.1) levels.unshift('$x')
    const topic = levels.join('/').replaceAll(/[+#]/g, '')
    // Of the topics that begin with $ the publisher has those below $x.
    if (topic !== '' && (!topic.startsWith('$') || topic.startsWith('$x/'))) found.add(topic)
  }
  return [...found]
}

/** For each client and topic `rw`, `r-`, `-w` or `--`. */
export type Decisions = ReadonlyMap<string, string>
export const keyOf = ({ clientId, user }: Who, topic: string): string =>
  `${JSON.stringify(clientId)} as ${JSON.stringify(user ?? null)}: ${JSON.stringify(topic)}`

/** Asks a broker by publishing and by being published to. */
export async function askBroker(
  t: Finally,
  port: number,
  root: Who,
  who: readonly Who[],
  topics: readonly string[],
): Promise<Decisions> {
  const dial = async ({ clientId, user }: Who): Promise<MqttClient> => {
    const client = await connectAsync({
      host: '127.0.0.1',
      port,
      clientId,
      protocolVersion: 5,
      reconnectPeriod: 0,
      ...(user !== undefined && { username: user, password: 'x' }),
    })
    client.on('error', () => {})
    t.after(() => {
      client.end(true)
    })
    return client
  }
  const publisher = await dial(root)
  const found = new Map<string, string>()
  for (const one of who) {
    const client = await dial(one)
    const read = new Set<string>()
    client.on('message', (topic) => read.add(topic))
    await client.subscribeAsync(['#', '$x/#'])
    for (const topic of topics) await isTaken(publisher.publishAsync(topic, 'x', { qos: 1 }))
    // Behind what was published.
    await client.subscribeAsync('fence')
    const canRead = new Set(read)
    for (const topic of topics) {
      const writes = await isTaken(client.publishAsync(topic, 'y', { qos: 1 }))
      found.set(keyOf(one, topic), `${canRead.has(topic) ? 'r' : '-'}${writes ? 'w' : '-'}`)
    }
    await client.endAsync()
  }
  return found
}

function isTaken(published: Promise<unknown>): Promise<boolean> {
  return published.then(
    () => true,
    (err: { readonly code?: number }) => {
      if (err.code !== 0x87) throw err
      return false
    },
  )
}
