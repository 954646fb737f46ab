/** `meshlet-hub token create|list|revoke` */
import fs from 'node:fs'
import { systemClock } from '../../core/os/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { isExact } from '../registry/node-names.ts'
import type { Labels } from '../registry/enrollments.ts'
import type { TokenRow } from '../registry/rows.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import { listPins } from '../../core/pki/pin.ts'
import type { Registry } from '../registry/registry.ts'
import { runTransaction, noteByOperator, openStoredCa, withState, type State } from './open.ts'
import type { Io } from './io.ts'
import { formatDate, formatTable } from './table.ts'

export type CreateOptions = {
  readonly config: string
  readonly json: boolean
  readonly namespace: string
  readonly serviceAccount: string
  readonly name?: string
  readonly namePattern?: string
  readonly count?: number
  readonly out?: string
  readonly ttl?: number
  readonly uses?: number
  readonly cidr: readonly string[]
  readonly label: Labels
  readonly approval: boolean
}
type Made = { readonly id: string; readonly name: string; readonly token: string; readonly expires: string }

/** Prints the token alone, so that it can go straight into a file; several go into a table of their own. */
export async function create(o: CreateOptions, io: Io): Promise<ExitCode> {
  const names = listNames(o)
  if (names.length > 1 && o.out === undefined)
    throw new MeshError('MESH_CONFIG_INVALID', '--count needs --out: many tokens are not printed on a terminal')
  const made = await withState(o, async (state) => {
    // What cannot be written must not stay valid: the file comes first, the registry when it is whole.
    using file = o.out === undefined ? undefined : openSecret(o.out)
    const roots = listPins((await openStoredCa(state)).rootsPem)
    return await state.registry.exclusively(async (tx) => {
      const all: Made[] = []
      for (const nodes of names) all.push(await createOne({ state, tx, o, io }, { nodes, roots }))
      file?.write(['id,name,token,expires', ...all.map((m) => `${m.id},${m.name},${m.token},${m.expires}`)])
      return all
    })
  })
  if (o.out !== undefined)
    io.out(
      o.json
        ? `${JSON.stringify({ file: o.out, tokens: made.map((m) => ({ ...m, token: undefined })) })}\n`
        : `${o.out}: ${made.length} token(s), shown nowhere else\n`,
    )
  else for (const m of made) io.out(o.json ? `${JSON.stringify(described(o, m))}\n` : `${m.token}\n`)
  return 0
}

/** Kept for scripts: `node` is what the token is good for. */
const described = ({ namespace }: CreateOptions, { name, ...m }: Made) => ({ ...m, namespace, node: name, name })

async function createOne(
  { state, tx, o, io }: { state: State; tx: Registry; o: CreateOptions; io: Io },
  p: { nodes: string; roots: readonly string[] },
): Promise<Made> {
  const wish = {
    ...p,
    namespace: o.namespace,
    serviceAccount: o.serviceAccount,
    ttlSec: o.ttl ?? state.config.tokenTtlSec,
    maxUses: o.uses ?? (o.count === undefined ? undefined : 1),
    cidrs: o.cidr,
    labels: o.label,
    approval: o.approval || state.config.enrollment.approval === 'always',
  }
  const { jti, token, expiresMs } = await state.tokens.create(wish, tx)
  await noteByOperator(tx, io, {
    event: 'token.created',
    subject: jti,
    detail: `${o.namespace}/${o.serviceAccount} for ${p.nodes}`,
    namespace: o.namespace,
  })
  return { id: jti, name: p.nodes, token, expires: new Date(expiresMs).toISOString() }
}

/** The hub cannot write while they are made. */
const MAX_COUNT = 10_000

/** One a token; `{n}` counts. Throws MESH_CONFIG_INVALID. */
function listNames({ name, namePattern, count = 1 }: CreateOptions): readonly string[] {
  if (name !== undefined && namePattern !== undefined)
    throw new MeshError('MESH_CONFIG_INVALID', '--name and --name-pattern are not for one token')
  if (name !== undefined && !isExact(name))
    throw new MeshError('MESH_CONFIG_INVALID', `--name ${name} is a pattern: --name-pattern takes it`)
  if (count > MAX_COUNT) throw new MeshError('MESH_CONFIG_INVALID', `--count ${count}: at most ${MAX_COUNT} at a time`)
  const text = name ?? namePattern
  if (text === undefined)
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      "a token is for names: --name gw-17, or --name-pattern 'gw-*' ('*' for any name that is free)",
    )
  if (count > 1 && name !== undefined && !name.includes('{n}'))
    throw new MeshError('MESH_CONFIG_INVALID', `--count ${count} needs a {n} in --name, e.g. gw-{n}, or --name-pattern`)
  return Array.from({ length: count }, (_, i) => text.replaceAll('{n}', String(i + 1)))
}

/** A new file of this user alone; what is there is never written over. */
function openSecret(name: string): Disposable & { write(lines: readonly string[]): void } {
  let handle: number
  try {
    handle = fs.openSync(name, 'wx', 0o600)
  } catch (cause) {
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `--out ${name} cannot be made: it is there already, or its folder is not`,
      {
        cause,
      },
    )
  }
  let whole = false
  return {
    write(lines) {
      try {
        // Writes all or throws; writeSync may stop half-way on a full disk.
        fs.writeFileSync(handle, lines.map((line) => `${line}\n`).join(''))
        fs.fsyncSync(handle)
      } catch (cause) {
        throw new MeshError('MESH_STATE_UNUSABLE', `--out ${name} cannot be written`, { cause })
      }
      whole = true
    },
    [Symbol.dispose]() {
      fs.closeSync(handle)
      if (!whole) fs.rmSync(name, { force: true })
    },
  }
}

export async function list(o: { readonly config: string; readonly json: boolean }, io: Io): Promise<ExitCode> {
  const rows = await withState(o, async ({ registry }) => {
    const all: (TokenRow & { readonly devices: readonly string[] })[] = []
    for (const t of await registry.tokens()) all.push({ ...t, devices: await registry.devicesOfToken(t.jti) })
    return all
  })
  const nowMs = systemClock.wallMs()
  if (o.json) io.out(`${JSON.stringify(rows.map((t) => ({ ...t, hash: undefined, state: stateOf(t, nowMs) })))}\n`)
  else {
    io.out(
      formatTable(
        ['ID', 'NAMESPACE', 'SERVICE ACCOUNT', 'NODE', 'STATE', 'USES', 'CREATED', 'ENDS', 'DEVICES'],
        rows.map((t) => [
          t.jti,
          t.namespace,
          t.serviceAccount,
          t.nodes ?? '-',
          stateOf(t, nowMs),
          `${t.uses}${t.maxUses === null ? '' : ` of ${t.maxUses}`}`,
          formatDate(t.createdMs),
          formatDate(t.expiresMs),
          shorten(t.devices),
        ]),
      ),
    )
  }
  return 0
}

const MAX_SHOWN = 5
const shorten = (names: readonly string[]): string =>
  names.length === 0
    ? '-'
    : names.slice(0, MAX_SHOWN).join(' ') + (names.length > MAX_SHOWN ? ` and ${names.length - MAX_SHOWN} more` : '')

/** Rejects with MESH_TOKEN_INVALID when there is no such token. */
export async function revoke(id: string, o: { readonly config: string }, io: Io): Promise<ExitCode> {
  const { row, devices } = await runTransaction(o, async (tx) => {
    const revoked = await tx.revokeToken(id, systemClock.wallMs())
    if (!revoked)
      throw new MeshError('MESH_TOKEN_INVALID', `there is no token ${id}; meshlet-hub token list shows them`)
    const detail = `${revoked.namespace}/${revoked.serviceAccount}`
    await noteByOperator(tx, io, { event: 'token.revoked', subject: id, detail, namespace: revoked.namespace })
    return { row: revoked, devices: await tx.devicesOfToken(id) }
  })
  io.out(
    `revoked: ${row.jti}, ${row.namespace}/${row.serviceAccount}, used by ${row.uses} key(s); certificates given for it are refused, and its streams end. Devices with a key of their own go on${devices.length === 0 ? '' : ` (${shorten(devices)}); meshlet-hub device revoke NAME ends one`}\n`,
  )
  return 0
}

function stateOf(t: TokenRow, nowMs: number): 'revoked' | 'ended' | 'used up' | 'valid' {
  if (t.revokedMs !== null) return 'revoked'
  if (nowMs >= t.expiresMs) return 'ended'
  return t.maxUses !== null && t.uses >= t.maxUses ? 'used up' : 'valid'
}
