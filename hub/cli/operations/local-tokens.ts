/** Join tokens, beside the hub. */
import { systemClock } from '../../../core/os/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { listPins } from '../../../core/pki/pin.ts'
import type { Registry } from '../../registry/registry.ts'
import { describeTokenState } from '../../registry/rows.ts'
import { noteByOperator, openStoredCa } from '../open.ts'
import type { ListedToken, MadeToken, RevokedToken, TokenOperations, TokenWish } from './operations.ts'
import type { Beside } from './local-devices.ts'

export class LocalTokens implements TokenOperations {
  readonly #at: Beside
  constructor(at: Beside) {
    this.#at = at
  }

  async create(
    wish: TokenWish,
    names: readonly string[],
    keep: (made: readonly MadeToken[]) => void,
  ): Promise<readonly MadeToken[]> {
    const roots = listPins((await openStoredCa(this.#at)).rootsPem)
    return await this.#at.registry.exclusively(async (tx) => {
      const made: MadeToken[] = []
      for (const nodes of names) made.push(await this.#createOne(tx, wish, { nodes, roots }))
      keep(made)
      return made
    })
  }
  async list(): Promise<readonly ListedToken[]> {
    const { registry } = this.#at
    const nowMs = systemClock.wallMs()
    const all: ListedToken[] = []
    for (const { hash: _hash, ...token } of await registry.tokens())
      all.push({
        ...token,
        devices: await registry.devicesOfToken(token.jti),
        state: describeTokenState(token, nowMs),
      })
    return all
  }
  async revoke(id: string): Promise<RevokedToken> {
    return await this.#at.registry.exclusively(async (tx) => {
      const row = await tx.revokeToken(id, systemClock.wallMs())
      if (!row) throw new MeshError('MESH_CONFIG_INVALID', `there is no token ${id}; meshlet-hub token list shows them`)
      const detail = `${row.namespace}/${row.serviceAccount}`
      await noteByOperator(tx, this.#at.io, {
        event: 'token.revoked',
        subject: id,
        detail,
        namespace: row.namespace,
      })
      const devices = await tx.devicesOfToken(id)
      return { ...row, devices, deviceCount: devices.length }
    })
  }

  async #createOne(
    tx: Registry,
    { ttlSec, approval, ...wish }: TokenWish,
    p: { readonly nodes: string; readonly roots: readonly string[] },
  ): Promise<MadeToken> {
    const { config, tokens, io } = this.#at
    const { tokenTtlSec, enrollment } = config
    const isApproved = approval || enrollment.approval === 'always'
    const { jti, token, expiresMs } = await tokens.create(
      { ...wish, ...p, ttlSec: ttlSec ?? tokenTtlSec, approval: isApproved },
      tx,
    )
    const { namespace, serviceAccount } = wish
    const detail = `${namespace}/${serviceAccount} for ${p.nodes}`
    await noteByOperator(tx, io, { event: 'token.created', subject: jti, detail, namespace })
    return { id: jti, name: p.nodes, token, expires: new Date(expiresMs).toISOString() }
  }
}
