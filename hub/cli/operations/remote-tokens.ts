/** Join tokens, over the API. */
import { MeshError } from '../../../core/errors.ts'
import { tokenList, tokenRevoked, tokensMade, type TokenItem } from '../../console/schemas.ts'
import type { HubClient } from '../console/client.ts'
import type { ListedToken, MadeToken, RevokedToken, TokenOperations, TokenWish } from './operations.ts'
import { findOrNothing } from './remote-devices.ts'
import { readPages } from './pages.ts'

/** What the API makes at a time, and how many devices of a token it names. */
const AT_A_TIME = 200
const MAX_DEVICES = 10_000
const PLAIN = /^[\w.-]{1,4096}$/

export class RemoteTokens implements TokenOperations {
  readonly #client: HubClient
  constructor(client: HubClient) {
    this.#client = client
  }

  async create(
    wish: TokenWish,
    names: readonly string[],
    keep: (made: readonly MadeToken[]) => void,
  ): Promise<readonly MadeToken[]> {
    const made: MadeToken[] = []
    try {
      for (let at = 0; at < names.length; at += AT_A_TIME) {
        const nodes = names.slice(at, at + AT_A_TIME)
        for (const one of await this.#createSome(wish, nodes)) made.push(one)
      }
      keep(made)
      return made
    } catch (thrown) {
      await this.#revokeAll(made)
      throw thrown
    }
  }
  async list(): Promise<readonly ListedToken[]> {
    const { rows } = await readPages(async (place) => {
      const query = { ...place, devices: MAX_DEVICES }
      const { total, tokens } = await this.#client.ask({ path: 'tokens', query, answer: tokenList })
      return { total, rows: tokens.map(toListed) }
    })
    return rows
  }
  async revoke(id: string): Promise<RevokedToken> {
    const path = `tokens/${encodeURIComponent(id)}/revoke`
    const revoked = await findOrNothing(this.#client.ask({ method: 'POST', path, body: {}, answer: tokenRevoked }))
    if (!revoked)
      throw new MeshError('MESH_CONFIG_INVALID', `there is no token ${id}; meshlet-hub token list shows them`)
    return { ...toListed(revoked.token), deviceCount: revoked.token.devicesTotal }
  }

  async #createSome(wish: TokenWish, nodes: readonly string[]): Promise<readonly MadeToken[]> {
    const { tokens } = await this.#client.ask({
      method: 'POST',
      path: 'tokens/many',
      body: { ...wish, nodes },
      answer: tokensMade,
    })
    // They go into scripts and tables as they are.
    if (tokens.length !== nodes.length || tokens.some(({ id, token }) => !PLAIN.test(id) || !PLAIN.test(token)))
      throw new MeshError('MESH_HUB_ANSWER', `the hub does not make one token for each of ${nodes.length} name(s)`)
    return tokens.map(({ id, token, expiresMs }, i) => ({
      id,
      name: nodes[i]!,
      token,
      expires: new Date(expiresMs).toISOString(),
    }))
  }

  /** They were shown to nobody. */
  async #revokeAll(made: readonly MadeToken[]): Promise<void> {
    try {
      for (const { id } of made) await this.revoke(id)
    } catch (cause) {
      throw new MeshError(
        'MESH_HUB_UNREACHABLE',
        `of ${made.length} token(s) that were made and are shown nowhere, not all could be revoked; meshlet-hub token list shows them`,
        { cause },
      )
    }
  }
}

/** As the registry has it. */
function toListed(t: TokenItem): ListedToken {
  return {
    jti: t.id,
    namespace: t.namespace,
    serviceAccount: t.serviceAccount,
    createdMs: t.createdMs,
    expiresMs: t.expiresMs,
    revokedMs: t.revokedMs,
    maxUses: t.maxUses,
    nodes: t.nodes,
    uses: t.uses,
    cidrs: t.cidrs,
    labels: t.labels,
    approval: t.approval,
    devices: t.devices,
    state: t.state,
  }
}
