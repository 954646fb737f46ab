/**
 * AuthorizationPolicies of the mesh that are about topics: asked with the connection's principal and address for each
 * PUBLISH, SUBSCRIBE and delivery.
 *
 * A value without wildcards in front or behind is a topic filter (MQTT 5.0 §4.7), others are texts as Istio has them. A
 * SUBSCRIBE is about many topics at once: a condition that holds for some of them only is neither true nor false, and
 * neither allows nor escapes a deny.
 */
import { matchesString, type StringMatch } from '../../../model/matcher.ts'
import type { MqttCondition, Policy } from '../../../model/policy.ts'
import { type AuthzFacts, decide, FALSE, TRUE, type Truth, UNKNOWN } from '../../authz.ts'
import type { Authorizer } from './authorizer.ts'
import { covers, overlap, parseSharedFilter } from '../topics/topics.ts'

/**
 * @param facts of the connection; undefined: there is none. Then nothing is published, and what waits is asked about
 * when the client comes back
 */
export function createMeshAuthorizer(policies: readonly Policy[], facts: AuthzFacts | undefined): Authorizer {
  const may = (action: 'publish' | 'subscribe', topic: string): boolean =>
    facts !== undefined && decide(policies, { ...facts, mqtt: (one) => findTruth(one, action, topic) }).allowed
  return {
    mayConnect: () => facts === undefined || decide(policies, { ...facts, mqtt: 'undecided' }).allowed,
    mayPublish: (topic) => may('publish', topic),
    mayReceive: (topic) => facts === undefined || may('subscribe', topic),
    maySubscribe(filter) {
      const shared = parseSharedFilter(filter)
      return facts === undefined || (shared !== 'invalid' && may('subscribe', shared?.filter ?? filter))
    },
    restrictsReceiving: true,
    filtersDelivery: true,
  }
}

function findTruth({ key, match }: MqttCondition, action: string, topic: string): Truth {
  return key === 'action' ? truthOf(matchesString(match, action)) : findTopicTruth(match, topic)
}
const truthOf = (holds: boolean): Truth => (holds ? TRUE : FALSE)

/** @param asked a topic, or a filter that stands for all of its topics */
export function findTopicTruth(match: StringMatch, asked: string): Truth {
  if (match.kind === 'exact' && !match.ignoreCase) {
    if (covers(match.value, asked)) return TRUE
    return overlap(match.value, asked) ? UNKNOWN : FALSE
  }
  const wildcard = asked.search(/[+#]/)
  if (wildcard < 0) return truthOf(matchesString(match, asked))
  // Istio's `*`.
  if (match.kind === 'regex') return match.regex.source === '.+' ? TRUE : UNKNOWN
  if (match.ignoreCase || match.kind === 'contains' || match.kind === 'exact') return UNKNOWN
  const { value } = match
  if (match.kind === 'prefix') {
    // A wildcard in front has no topics of the server [MQTT-4.7.2-1].
    if (wildcard === 0 && value.startsWith('$')) return FALSE
    // Of `a/#` the topic `a` stands apart; it is asked about when it is delivered.
    const head = asked.slice(0, wildcard)
    return head.startsWith(value) ? TRUE : truthAtMost(value.startsWith(head))
  }
  const tail = asked.slice(Math.max(asked.lastIndexOf('+'), asked.lastIndexOf('#')) + 1)
  return tail.endsWith(value) ? TRUE : truthAtMost(value.endsWith(tail))
}
const truthAtMost = (isPossible: boolean): Truth => (isPossible ? UNKNOWN : FALSE)
