/**
 * mqtt.rules: who may connect, publish where and subscribe to what. First match wins; without a match an action is
 * allowed only if no rule speaks of it. Compiled once per client, asked per PUBLISH.
 *
 * A value that is put in for %c, %u or %s never widens a rule: with `+`, `#` or `/` in it an allow rule does not match
 * and a deny rule does (a client id is chosen by the client; compare CVE-2017-7650). %u is the user that was proved. Of
 * a client that proved none it is nobody's in an allow rule and everybody's in a deny rule.
 */
import type { MqttPolicy, MqttRule } from '../../../model/mqtt-policy.ts'
import { coversLevels, type Levels, overlapLevels, sharedOf } from './topics.ts'

export type Client = {
  readonly clientId: string
  /** The user that was proved, never one that was only said. */
  readonly user: string | undefined
  /** What the user's proof says that it belongs to. */
  readonly groups: readonly string[]
  /** Of the certificate that the client proved to have. */
  readonly spiffeUri: string | undefined
  readonly serviceAccount: string | undefined
}
export interface Authorizer {
  mayConnect(): boolean
  mayPublish(topic: string): boolean
  /**
   * `filter` as subscribed, `$share/…` included. An allow rule has to cover it whole, a deny rule refuses when any
   * topic is common.
   */
  maySubscribe(filter: string): boolean
  /** One message, whichever subscription it was for. */
  mayReceive(topic: string): boolean
  /** Some topics are not for this client. */
  readonly restrictsReceiving: boolean
}

/** `topics` undefined = all of them. Split once: one packet may ask for a hundred thousand filters. */
type Compiled = { readonly allow: boolean; readonly topics: readonly Levels[] | undefined }

const MAX_REMEMBERED_TOPICS = 256
const MAX_REMEMBERED_CHARS = 256

export function createAuthorizer({ rules }: Pick<MqttPolicy, 'rules'>, client: Client): Authorizer {
  const of = (action: MqttRule['action']): readonly Compiled[] | undefined => {
    const all = rules.filter((rule) => rule.action === action)
    return all.length === 0 ? undefined : all.flatMap((rule) => compiled(rule, client))
  }
  const [connect, publish, subscribe] = [of('connect'), of('publish'), of('subscribe')]
  return {
    mayConnect: () => !connect || (connect[0]?.allow ?? false),
    mayPublish: byTopic(publish),
    mayReceive: byTopic(subscribe),
    restrictsReceiving: subscribe !== undefined,
    maySubscribe(filter) {
      if (!subscribe) return true
      const shared = sharedOf(filter)
      if (shared === 'invalid') return false
      const inner = (shared?.filter ?? filter).split('/')
      for (const { allow, topics } of subscribe)
        if (!topics || isAmong(topics, inner, allow ? coversLevels : overlapLevels)) return allow
      return false
    },
  }
}

function byTopic(rules: readonly Compiled[] | undefined): (topic: string) => boolean {
  if (!rules) return () => true
  const remembered = new Map<string, boolean>()
  return (topic) => {
    const known = remembered.get(topic)
    if (known !== undefined) return known
    const may = isAllowed(rules, topic.split('/'))
    // A client has this for itself, and may have ten thousand others beside it.
    if (topic.length > MAX_REMEMBERED_CHARS) return may
    if (remembered.size >= MAX_REMEMBERED_TOPICS) remembered.clear()
    remembered.set(topic, may)
    return may
  }
}

function isAllowed(rules: readonly Compiled[], topic: Levels): boolean {
  for (const { allow, topics } of rules) if (!topics || isAmong(topics, topic, coversLevels)) return allow
  return false
}

function isAmong(topics: readonly Levels[], asked: Levels, compare: typeof coversLevels): boolean {
  for (const one of topics) if (compare(one, asked)) return true
  return false
}

function compiled({ action, topics, principals, clientIds, effect }: MqttRule, client: Client): Compiled[] {
  if (principals.length > 0 && !principals.some((p) => isPrincipal(p, client.spiffeUri))) return []
  if (clientIds.length > 0 && !clientIds.includes(client.clientId)) return []
  const allow = effect === 'allow'
  if (action === 'connect' || topics.length === 0) return [{ allow, topics: undefined }]
  const filled: Levels[] = []
  for (const topic of topics) {
    const isAnyUser = !allow && client.user === undefined
    const text = substituted(isAnyUser ? topic.split('/').map(anyUser).join('/') : topic, client)
    if (text === 'unsafe' && !allow) return [{ allow, topics: undefined }]
    if (typeof text === 'object') filled.push(text.filter.split('/'))
  }
  return filled.length === 0 ? [] : [{ allow, topics: filled }]
}

function isPrincipal(pattern: string, uri: string | undefined): boolean {
  if (uri === undefined) return false
  return pattern.endsWith('*') ? uri.startsWith(pattern.slice(0, -1)) : uri === pattern
}

/** A level that names the user, as a deny rule has to read it for who proved none: whoever it is. */
function anyUser(level: string): string {
  return level.includes('%u') ? '+' : level
}

/** `absent`: the client has no such value, so the topic is nobody's of its own. */
function substituted(
  topic: string,
  { clientId, user, serviceAccount }: Client,
): { readonly filter: string } | 'absent' | 'unsafe' {
  let problem: 'absent' | 'unsafe' | undefined
  const filter = topic.replaceAll(/%[cus]/g, (name) => {
    const value = name === '%c' ? clientId : name === '%u' ? user : serviceAccount
    if (value === undefined || value === '') problem ??= 'absent'
    else if (/[+#/]/.test(value)) problem = 'unsafe'
    return value ?? ''
  })
  return problem ?? { filter }
}
