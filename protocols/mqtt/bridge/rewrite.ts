/**
 * What a route makes of topics, there and back. The way back is worked out from the way there, so that `both` needs no
 * second description. Pure.
 */
import { memoizeTexts } from '../../../core/memoize.ts'
import type { MqttRoute } from '../../../model/mqtt/route.ts'
import { parseTemplate, type TemplatePart, type TemplateVariable } from '../../../model/mqtt/topic-template.ts'
import { parseSharedFilter } from '../topics/topics.ts'

export type Rename = (topic: string) => string
/** Of one route: `filter` on this side and on the other, and topics from this side to the other and back. */
export type Rewrite = { readonly there: Rename; readonly back: Rename; readonly filterThere: string }
export type Variables = Readonly<Record<TemplateVariable, string>>

const MAX_TOPIC_BYTES = 65_535
const MAX_REMEMBERED = 1_024
const MAX_REMEMBERED_CHARS = 256

/** @param variables a level that no topic may have is made one that it may */
export function planRewrite(
  route: Pick<MqttRoute, 'match' | 'topic' | 'stripPrefix' | 'addPrefix'>,
  variables: Variables,
): Rewrite {
  const match = withoutShare(route.match)
  return route.topic === undefined
    ? prefixRewrite(match, route)
    : templateRewrite(match, filledIn(route.topic, variables))
}

export function withoutShare(filter: string): string {
  const shared = parseSharedFilter(filter)
  return shared === undefined || shared === 'invalid' ? filter : shared.filter
}

function prefixRewrite(
  match: string,
  { stripPrefix, addPrefix }: Pick<MqttRoute, 'stripPrefix' | 'addPrefix'>,
): Rewrite {
  const swap =
    (from: string, to: string): Rename =>
    (topic) =>
      to + (topic.startsWith(from) ? topic.slice(from.length) : topic)
  const there = swap(stripPrefix, addPrefix)
  const isSame = stripPrefix === '' && addPrefix === ''
  return {
    there: isSame ? unchanged : possible(there),
    back: isSame ? unchanged : possible(swap(addPrefix, stripPrefix)),
    filterThere: there(match),
  }
}
const unchanged: Rename = (topic) => topic

function templateRewrite(match: string, parts: readonly Part[]): Rewrite {
  const wildcards = match.split('/').filter(isWildcard)
  const order = parts.flatMap((part) => (typeof part === 'string' ? [] : [part.capture]))
  const filterThere = parts.map((part) => (typeof part === 'string' ? part : wildcards[part.capture]!)).join('')
  let next = 0
  const backParts = match
    .split(/([+#])/)
    .filter((part) => part !== '')
    .map((part): Part => (isWildcard(part) ? { capture: order.indexOf(next++) } : part))
  return {
    there: remembered(possible((topic) => made(topic, match, parts))),
    back: remembered(possible((topic) => made(topic, filterThere, backParts))),
    filterThere,
  }
}

/** `capture` counts the wildcards of the filter from 0. */
type Part = string | { readonly capture: number }

function filledIn(template: string, variables: Variables): readonly Part[] {
  const parsed = parseTemplate(template)
  // The schema has refused what cannot be parsed.
  const parts: readonly TemplatePart[] = typeof parsed === 'string' ? [{ kind: 'text', text: template }] : parsed
  return parts.map((part): Part => {
    if (part.kind === 'text') return part.text
    return part.kind === 'capture' ? { capture: part.number - 1 } : variables[part.name].replaceAll(/[+#\0]/g, '_')
  })
}

function made(topic: string, filter: string, parts: readonly Part[]): string {
  const captures = capturesOf(topic, filter)
  let out = ''
  for (const part of parts) {
    if (typeof part === 'string') {
      out += part
      continue
    }
    const capture = captures[part.capture]
    // `a/#` is also `a` itself (§4.7.1.2): then there is no level, and no slash before it.
    if (capture !== undefined) out += capture
    else if (out.endsWith('/')) out = out.slice(0, -1)
  }
  return out
}

/** What each wildcard stands for in a topic that matches; undefined: `#` stands for no level at all. */
function capturesOf(topic: string, filter: string): readonly (string | undefined)[] {
  const levels = topic.split('/')
  const captures: (string | undefined)[] = []
  for (const [i, level] of filter.split('/').entries()) {
    if (level === '+') captures.push(levels[i])
    else if (level === '#') captures.push(i < levels.length ? levels.slice(i).join('/') : undefined)
  }
  return captures
}
const isWildcard = (level: string): boolean => level === '+' || level === '#'

/** A topic that would become empty or longer than MQTT allows [MQTT-4.7.3-1, -3] stays as it is. */
function possible(rename: Rename): Rename {
  return (topic) => {
    const renamed = rename(topic)
    const isTooLong = renamed.length > MAX_TOPIC_BYTES / 3 && Buffer.byteLength(renamed) > MAX_TOPIC_BYTES
    return renamed === '' || isTooLong ? topic : renamed
  }
}

/** Publishers use few topics again and again. */
function remembered(rename: Rename): Rename {
  return memoizeTexts(rename, { most: MAX_REMEMBERED, keeps: ({ length }) => length <= MAX_REMEMBERED_CHARS })
}
