/**
 * mqtt.rules. First match wins; without a match an action is allowed only if no rule speaks of it.
 *
 * A value that is put in for %c, %u, %s, %n or %d never widens a rule: with `+`, `#` or `/` in it, or with `$` where
 * the topic begins, an allow rule does not match and a deny rule does (a client id is chosen by the client; compare
 * CVE-2017-7650). %u is the user that was proved. Of a client that proved none it is nobody's in an allow rule and
 * everybody's in a deny rule.
 */
import type { MqttPolicy, MqttRule } from '../../../model/mqtt-policy.ts'
import type { Authorizer, Client } from './authorizer.ts'
import { coversLevels, type Levels, overlapLevels, parseSharedFilter } from '../topics/topics.ts'

/** `topics` undefined = all of them. Split once: one packet may ask for a hundred thousand filters. */
type Compiled = { readonly allow: boolean; readonly topics: readonly Levels[] | undefined }

export function createRuleAuthorizer(
  { rules, wideSubscriptions }: Pick<MqttPolicy, 'rules' | 'wideSubscriptions'>,
  client: Client,
): Authorizer {
  const of = (action: MqttRule['action']): readonly Compiled[] | undefined => {
    const all = rules.filter((rule) => rule.action === action)
    return all.length === 0 ? undefined : all.flatMap((rule) => compiled(rule, client))
  }
  const [connect, publish, subscribe, receive] = [of('connect'), of('publish'), of('subscribe'), of('receive')]
  const takes = wideSubscriptions === 'filter' ? hasSome : hasAll
  return {
    mayConnect: () => !connect || (connect[0]?.allow ?? false),
    mayPublish: (topic) => !publish || hasAll(publish, topic.split('/')),
    mayReceive(topic) {
      const levels = topic.split('/')
      return (!subscribe || hasAll(subscribe, levels)) && (!receive || hasAll(receive, levels))
    },
    restrictsReceiving: subscribe !== undefined || receive !== undefined,
    filtersDelivery: receive !== undefined || (subscribe !== undefined && wideSubscriptions === 'filter'),
    maySubscribe(filter) {
      if (!subscribe) return true
      const shared = parseSharedFilter(filter)
      return shared !== 'invalid' && takes(subscribe, (shared?.filter ?? filter).split('/'))
    },
  }
}

/**
 * Whether all topics of a filter are allowed, or the one that it is: an allow rule has to cover it whole, a deny rule
 * refuses when any topic is common.
 */
function hasAll(rules: readonly Compiled[], asked: Levels): boolean {
  for (const { allow, topics } of rules)
    if (!topics || isAmong(topics, asked, allow ? coversLevels : overlapLevels)) return allow
  return false
}
/** Whether one of them may be: what is delivered is asked about by itself. */
function hasSome(rules: readonly Compiled[], asked: Levels): boolean {
  for (const { allow, topics } of rules)
    if (!topics || isAmong(topics, asked, allow ? overlapLevels : coversLevels)) return allow
  return false
}

function isAmong(topics: readonly Levels[], asked: Levels, compare: typeof coversLevels): boolean {
  for (const one of topics) if (compare(one, asked)) return true
  return false
}

function compiled(rule: MqttRule, client: Client): Compiled[] {
  if (!isAbout(rule, client)) return []
  const { action, topics, effect } = rule
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

/** All that it names has to fit. */
export function isAbout(
  {
    principals,
    clientIds = [],
    users,
    groups,
  }: Pick<MqttRule, 'principals' | 'users' | 'groups'> & Partial<Pick<MqttRule, 'clientIds'>>,
  client: Client,
): boolean {
  const isOne = (patterns: readonly string[], ...values: readonly (string | undefined)[]): boolean =>
    patterns.length === 0 || values.some((value) => patterns.some((pattern) => isMatch(pattern, value)))
  return (
    isOne(principals, client.spiffeUri) &&
    isOne(clientIds, client.clientId) &&
    isOne(users, client.user) &&
    isOne(groups, ...client.groups)
  )
}
/** Exact, or what begins so. */
export function isMatch(pattern: string, value: string | undefined): boolean {
  if (value === undefined) return false
  return pattern.endsWith('*') ? value.startsWith(pattern.slice(0, -1)) : value === pattern
}

/** A level that names the user, as a deny rule has to read it for who proved none: whoever it is. */
function anyUser(level: string): string {
  return level.includes('%u') ? '+' : level
}

/** `absent`: the client has no such value, so the topic is nobody's of its own. */
function substituted(topic: string, client: Client): { readonly filter: string } | 'absent' | 'unsafe' {
  const values: Readonly<Record<string, string | undefined>> = {
    '%c': client.clientId,
    '%u': client.user,
    '%s': client.serviceAccount,
    '%n': client.namespace,
    '%d': client.trustDomain,
  }
  let problem: 'absent' | 'unsafe' | undefined
  const filter = topic.replaceAll(/%[cusnd]/g, (name, at: number) => {
    const value = values[name]
    if (value === undefined || value === '') problem ??= 'absent'
    else if (/[+#/]/.test(value) || (at === 0 && value.startsWith('$'))) problem = 'unsafe'
    return value ?? ''
  })
  return problem ?? { filter }
}
