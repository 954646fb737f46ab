/** Delta xDS of one device on the relay: digests in place of names, differences in place of resources. */
import type { DeltaDiscoveryRequest } from '../../proto/services.ts'
import type { RelayResponse } from '../../proto/relay/xds.ts'
import type { Conversation } from '../api/ads/messages.ts'
import { DeltaSession, type DeltaResponse } from '../api/ads/session.ts'
import { isByName, type ResourceSet } from '../source/resources.ts'
import type { History } from './history.ts'

/** `digest`: in place of the names and versions of a first request. */
export type RelayQuestion = DeltaDiscoveryRequest & { readonly digest: Uint8Array | undefined }
/** `tell`: the request has to come whole. */
export type RelayReply = ({ readonly kind: 'response' } & RelayResponse) | Tell
type Tell = { readonly kind: 'tell'; readonly typeUrl: string; readonly nonce: '' }

/** @param p.whole the device lacks what differences were made against */
export function createRelayConversation(
  history: History,
  p: { readonly whole: boolean },
): Conversation<RelayQuestion, RelayReply> {
  const session = new DeltaSession()
  /** Types of which the device has refused something: it may have kept an earlier version. */
  const doubtful = new Set<string>()
  const reply = (response: DeltaResponse): RelayReply => ({
    kind: 'response',
    typeUrl: response.typeUrl,
    nonce: response.nonce,
    systemVersion: response.systemVersion,
    removed: response.removed,
    resources: response.resources.map((resource) => {
      const { name, version, value } = resource
      const base = p.whole || doubtful.has(response.typeUrl) ? undefined : response.had.get(name)
      const difference = base === undefined ? undefined : history.difference(resource, base)
      return difference ? { name, version, base: base!, bytes: difference } : { name, version, base: '', bytes: value }
    }),
  })
  return {
    request(question, set: ResourceSet) {
      history.note(set)
      const { typeUrl, digest } = question
      const named = digest && history.find(typeUrl, digest)
      if (digest && !named) return { outcome: 'none', responses: [{ kind: 'tell', typeUrl, nonce: '' }] }
      const { responses, outcome } = session.request(
        {
          typeUrl,
          subscribe: named && isByName(typeUrl) ? [...named.keys()] : question.resourceNamesSubscribe,
          unsubscribe: question.resourceNamesUnsubscribe,
          known: named
            ? Object.fromEntries([...named].map(([name, { version }]) => [name, version]))
            : question.initialResourceVersions,
          nonce: question.responseNonce,
          error: question.errorDetail?.message,
        },
        set,
      )
      if (outcome === 'nack') doubtful.add(typeUrl)
      return { responses: responses.map(reply), outcome }
    },
    push(set) {
      history.note(set)
      return session.push(set).map(reply)
    },
    computeContent: () => session.computeContent(),
    get subscribedBytes() {
      return session.subscribedBytes
    },
  }
}
