import { test } from 'node:test'
import assert from 'node:assert/strict'
import { create } from '@bufbuild/protobuf'
import { Metrics } from '../../../core/metrics.ts'
import { DeltaDiscoveryRequestSchema } from '../../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { createRelayConversation, type RelayReply } from '../../../hub/relay/conversation.ts'
import { History } from '../../../hub/relay/history.ts'
import { CLUSTER, hashContent, makeResourceSet, type ResourceSet } from '../../../hub/source/resources.ts'

const set = (content: string): ResourceSet => {
  const value = Buffer.from(`${'much that stays the same '.repeat(20)}${content}`)
  return makeResourceSet([{ name: 'a', typeUrl: CLUSTER, version: hashContent(value), value }])
}
const baseOf = ([reply]: readonly RelayReply[]): string | undefined =>
  reply?.kind === 'response' ? reply.resources[0]?.base : undefined

for (const refuses of [true, false])
  test(`a resource that the device ${refuses ? 'refused is not' : 'took is'} the base of the next difference`, () => {
    const conversation = createRelayConversation(new History(new Metrics()), { whole: false })
    const say = (message: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1], to: ResourceSet) =>
      conversation.request(
        Object.assign(create(DeltaDiscoveryRequestSchema, { typeUrl: CLUSTER, ...message }), { digest: undefined }),
        to,
      )
    const [one, two, three] = [set('one'), set('two'), set('three')]
    const first = say({ resourceNamesSubscribe: ['*'] }, one).responses
    assert.equal(baseOf(first), '')
    const second = conversation.push(two)
    assert.notEqual(baseOf(second), '', 'as the difference to the first')
    const answer = { responseNonce: second[0]!.nonce, ...(refuses ? { errorDetail: { code: 13, message: 'no' } } : {}) }
    say(answer, two)
    assert.equal(baseOf(conversation.push(three)) === '', refuses)
  })
