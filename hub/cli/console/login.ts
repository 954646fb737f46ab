/** `meshlet-hub login` */
import os from 'node:os'
import type { ExitCode } from '../../../core/cli/exit.ts'
import { MeshError } from '../../../core/errors.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { ALL, describeGrants } from '../../console/access.ts'
import { describeAddress } from '../../console/listener.ts'
import { addLoginLink } from '../../console/logins.ts'
import type { Role } from '../../registry/console-sessions.ts'
import type { Io } from '../io.ts'
import { noteByOperator, withState } from '../open.ts'

export type LoginOptions = {
  readonly config: string
  readonly role: Role
  readonly namespace: readonly string[]
  readonly name?: string
  readonly ttl: number
}

/** The link alone goes to standard output. Rejects with MESH_CONFIG_INVALID when hub.yaml has no console. */
export async function makeLogin(o: LoginOptions, io: Io): Promise<ExitCode> {
  const namespaces = o.namespace.length === 0 ? [ALL] : o.namespace
  const grants = namespaces.map((namespace) => ({ namespace, role: o.role }))
  const name = o.name ?? io.operator ?? os.userInfo().username
  const link = await withState(o, async ({ config, registry }) => {
    if (!config.console)
      throw new MeshError(
        'MESH_CONFIG_INVALID',
        `${o.config} has no section console: add \`console: {}\` and restart the hub`,
      )
    const address = describeAddress(config.console, config.dnsNames)
    return await registry.exclusively(async (tx) => {
      const p = { operator: `operator:${name}`, grants, ttlMs: o.ttl * 1_000, nowMs: systemClock.wallMs() }
      const secret = await addLoginLink(tx.sessions, p)
      await noteByOperator(tx, io, { event: 'console.link', subject: name, detail: describeGrants(grants) })
      return `${address}/login#login=${secret}`
    })
  })
  io.out(`${link}\n`)
  io.err(`${name} may log in with it once within ${Math.round(o.ttl / 60)} minutes, as ${describeGrants(grants)}\n`)
  return 0
}
