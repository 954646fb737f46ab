/** What policies are asked about: the connection's part, and what is known of the request by then. */
import type { HeaderValues } from '../../../model/matcher.ts'
import type { Metadata } from '../../../model/http/metadata.ts'
import type { AuthzFacts } from '../../authz.ts'
import { collectHeaderValues, readPathText, type RequestFacts } from '../../router.ts'

/** The connection's part of the authorization facts. */
export type ClientFacts = Omit<AuthzFacts, 'header' | 'path'>

/** Made for every request, so it holds what is known already; the rest is worked out for a policy that asks. */
export class PolicyFacts implements AuthzFacts {
  readonly #client: ClientFacts
  readonly #request: RequestFacts

  constructor({ client, request }: { readonly client: ClientFacts; readonly request: RequestFacts }) {
    this.#client = client
    this.#request = request
  }

  get peer(): AuthzFacts['peer'] {
    return this.#client.peer
  }
  get directRemoteIp(): string {
    return this.#client.directRemoteIp
  }
  get remoteIp(): string {
    return this.#client.remoteIp
  }
  get destinationIp(): string {
    return this.#client.destinationIp
  }
  get destinationPort(): number {
    return this.#client.destinationPort
  }
  get serverName(): string {
    return this.#client.serverName
  }
  get metadata(): Metadata {
    return this.#request.metadata ?? NO_METADATA
  }
  get path(): string | undefined {
    return this.#request.path === '' ? undefined : readPathText(this.#request.path)
  }
  header(name: string): HeaderValues {
    return collectHeaderValues(this.#request, name)
  }
}

const NO_METADATA: Metadata = {}
