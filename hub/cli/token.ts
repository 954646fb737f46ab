/** `meshlet-hub token create|list|revoke` */
import { systemClock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { TokenRow } from '../registry/registry.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { withState } from './open.ts'
import type { Io } from './io.ts'
import { formatDate, formatTable } from './table.ts'

export type CreateOptions = {
  readonly config: string
  readonly json: boolean
  readonly namespace: string
  readonly serviceAccount: string
  readonly node: string
  readonly ttl?: number
  readonly maxUses?: number
}

/** Prints the token alone, so that it can go straight into a file. */
export async function create(o: CreateOptions, io: Io): Promise<ExitCode> {
  const made = withState(o.config, ({ config, tokens }) =>
    tokens.create({
      namespace: o.namespace,
      serviceAccount: o.serviceAccount,
      nodes: o.node,
      ttlSec: o.ttl ?? config.tokenTtlSec,
      maxUses: o.maxUses,
    }),
  )
  io.out(
    o.json
      ? `${JSON.stringify({ id: made.jti, namespace: made.namespace, serviceAccount: made.serviceAccount, node: o.node, expires: new Date(made.expiresMs).toISOString(), token: made.token })}\n`
      : `${made.token}\n`,
  )
  return 0
}

export async function list(o: { readonly config: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const rows = withState(o.config, ({ registry }) => registry.tokens())
  const nowMs = systemClock.wallMs()
  if (o.json) io.out(`${JSON.stringify(rows.map((t) => ({ ...t, state: stateOf(t, nowMs) })))}\n`)
  else {
    io.out(
      formatTable(
        ['ID', 'NAMESPACE', 'SERVICE ACCOUNT', 'NODE', 'STATE', 'USES', 'CREATED', 'ENDS'],
        rows.map((t) => [
          t.jti,
          t.namespace,
          t.serviceAccount,
          t.nodes ?? '-',
          stateOf(t, nowMs),
          `${t.uses}${t.maxUses === null ? '' : ` of ${t.maxUses}`}`,
          formatDate(t.createdMs),
          formatDate(t.expiresMs),
        ]),
      ),
    )
  }
  return 0
}

/** Rejects with MESH_TOKEN_INVALID when there is no such token. */
export async function revoke(id: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const row = withState(o.config, ({ registry }) => registry.revokeToken(id, systemClock.wallMs()))
  if (!row) throw new MeshError('MESH_TOKEN_INVALID', `there is no token ${id}; meshlet-hub token list shows them`)
  io.out(
    `revoked: ${row.jti}, ${row.namespace}/${row.serviceAccount}, used by ${row.uses} key(s); certificates given for it are refused, and its streams end\n`,
  )
  return 0
}

function stateOf(t: TokenRow, nowMs: number): 'revoked' | 'ended' | 'used up' | 'valid' {
  if (t.revokedMs !== null) return 'revoked'
  if (nowMs >= t.expiresMs) return 'ended'
  return t.maxUses !== null && t.uses >= t.maxUses ? 'used up' : 'valid'
}
