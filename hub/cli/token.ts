/** `meshlet-hub token create|list|revoke` */
import fs from 'node:fs'
import { MeshError } from '../../core/errors.ts'
import { toPrintable } from '../../core/printable.ts'
import { isExact } from '../registry/node-names.ts'
import type { Labels } from '../registry/enrollments.ts'
import type { ExitCode } from '../../core/cli/exit.ts'
import type { Io } from './io.ts'
import { withOperations, type HubOptions } from './operations/open.ts'
import type { MadeToken, TokenWish } from './operations/operations.ts'
import { formatDate, formatTable } from './table.ts'

export type CreateOptions = HubOptions & {
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

/** Prints the token alone, so that it can go straight into a file; several go into a table of their own. */
export async function create(o: CreateOptions, io: Io): Promise<ExitCode> {
  const names = listNames(o)
  if (names.length > 1 && o.out === undefined)
    throw new MeshError('MESH_CONFIG_INVALID', '--count needs --out: many tokens are not printed on a terminal')
  const made = await withOperations(o, io, async ({ tokens }) => {
    // What cannot be written must not stay valid: the file comes first, the tokens when it is whole.
    using file = o.out === undefined ? undefined : openSecret(o.out)
    return await tokens.create(describeWish(o), names, (all) =>
      file?.write(['id,name,token,expires', ...all.map((m) => `${m.id},${m.name},${m.token},${m.expires}`)]),
    )
  })
  if (o.out !== undefined)
    io.out(
      o.json
        ? `${JSON.stringify({ file: o.out, tokens: made.map((m) => ({ ...m, token: undefined })) })}\n`
        : `${o.out}: ${made.length} token(s), shown nowhere else\n`,
    )
  else for (const m of made) io.out(o.json ? `${JSON.stringify(described(o, m))}\n` : `${toPrintable(m.token)}\n`)
  return 0
}

/** Kept for scripts: `node` is what the token is good for. */
const described = ({ namespace }: CreateOptions, { name, ...m }: MadeToken) => ({ ...m, namespace, node: name, name })

const describeWish = (o: CreateOptions): TokenWish => ({
  namespace: o.namespace,
  serviceAccount: o.serviceAccount,
  ttlSec: o.ttl,
  maxUses: o.uses ?? (o.count === undefined ? undefined : 1),
  cidrs: o.cidr,
  labels: o.label,
  approval: o.approval,
})

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
        throw new MeshError('MESH_FILE_UNWRITABLE', `--out ${name} cannot be written`, { cause })
      }
      whole = true
    },
    [Symbol.dispose]() {
      fs.closeSync(handle)
      if (!whole) fs.rmSync(name, { force: true })
    },
  }
}

export async function list(o: HubOptions & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const rows = await withOperations(o, io, ({ tokens }) => tokens.list())
  if (o.json) io.out(`${JSON.stringify(rows)}\n`)
  else {
    io.out(
      formatTable(
        ['ID', 'NAMESPACE', 'SERVICE ACCOUNT', 'NODE', 'STATE', 'USES', 'CREATED', 'ENDS', 'DEVICES'],
        rows.map((t) => [
          t.jti,
          t.namespace,
          t.serviceAccount,
          t.nodes ?? '-',
          t.state,
          `${t.uses}${t.maxUses === null ? '' : ` of ${t.maxUses}`}`,
          formatDate(t.createdMs),
          formatDate(t.expiresMs),
          shorten(t.devices, t.devices.length),
        ]),
      ),
    )
  }
  return 0
}

const MAX_SHOWN = 5
const shorten = (names: readonly string[], count: number): string =>
  count === 0 ? '-' : names.slice(0, MAX_SHOWN).join(' ') + (count > MAX_SHOWN ? ` and ${count - MAX_SHOWN} more` : '')

/** Rejects with MESH_CONFIG_INVALID when there is no such token. */
export async function revoke(id: string, o: HubOptions, io: Io): Promise<ExitCode> {
  const revoked = await withOperations(o, io, ({ tokens }) => tokens.revoke(id))
  const { jti, namespace, serviceAccount, uses, devices, deviceCount } = revoked
  io.out(
    toPrintable(
      `revoked: ${jti}, ${namespace}/${serviceAccount}, used by ${uses} key(s); certificates given for it are refused, and its streams end. Devices with a key of their own go on${deviceCount === 0 ? '' : ` (${shorten(devices, deviceCount)}); meshlet-hub device revoke NAME ends one`}`,
    ) + '\n',
  )
  return 0
}
