/** Who asks, and what may be asked (authorization.ts). */
import type { AuthzFacts } from '../../authz.ts'

export type Client = {
  readonly clientId: string
  /** The user that was proved, never one that was only said. */
  readonly user: string | undefined
  /** What the user's proof says that it belongs to. */
  readonly groups: readonly string[]
  /** Of the certificate that the client proved to have; so are the next ones. */
  readonly spiffeUri: string | undefined
  readonly trustDomain?: string | undefined
  readonly namespace?: string | undefined
  readonly serviceAccount: string | undefined
  /** Of its connection, for policies of the mesh; undefined where it has none. */
  readonly connection?: (() => AuthzFacts) | undefined
}
export interface Authorizer {
  mayConnect(): boolean
  mayPublish(topic: string): boolean
  /** `filter` as subscribed, `$share/…` included. */
  maySubscribe(filter: string): boolean
  /** One message, whichever subscription it was for. */
  mayReceive(topic: string): boolean
  /** Some topics are not for this client. */
  readonly restrictsReceiving: boolean
  /** A subscription may have such topics: each message is asked about, not only what rules have taken away. */
  readonly filtersDelivery: boolean
}
