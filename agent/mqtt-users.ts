import { MeshError } from '../core/errors.ts'
import type { KeySource } from '../core/jwt/key-source.ts'
import type { JwtTime } from '../core/jwt/verify.ts'
import type { Scope } from '../core/scope.ts'
import type { World } from '../core/world.ts'
import type { Context } from '../protocols/context.ts'
import { openFetchedKeys } from '../protocols/jwks/fetched-keys.ts'
import { readBridgeCredentials, type ReadCredentials } from '../protocols/mqtt/users/bridge-credentials.ts'
import { UserDatabase } from '../protocols/mqtt/users/user-database.ts'
import type { AgentConfig } from './config/schema.ts'
import { readToken } from './control-sync-settings.ts'

/** Undefined: nobody proves a user, and nobody has to. */
export function openMqttUsers(
  { config, world, scope }: { readonly config: AgentConfig; readonly world: World; readonly scope: Scope },
  ctx: Context,
): UserDatabase | undefined {
  const { identity, clock, log, metrics } = ctx
  const settings = config.mqtt.users
  if (!settings) return undefined
  const time = (): JwtTime => {
    // As for certificates: a device without a battery may only know how late it is at least.
    const known = identity.validity?.peerVerification()
    return known ? { nowMs: known.nowMs, isLowerBound: known.clock === 'lower-bound' } : { nowMs: clock.wallMs() }
  }
  const fetchKeys = (url: string): KeySource => openFetchedKeys(url, { ...ctx, disk: world.disk, folder: config.state })
  return scope.own(new UserDatabase({ settings, disk: world.disk, clock, log, metrics, time, fetchKeys }))
}

/** `user:password` for an HTTP proxy. */
export function readProxyCredentials({ disk }: World, file: string): string {
  const content = disk.read(file)
  if (!content) throw new MeshError('MESH_MQTT_CREDENTIALS', `mqtt.bridges httpProxy: there is no file ${file}`)
  return content.toString('utf8')
}

/** @param node name of this agent */
export function openBridgeCredentials(
  { config, world: { disk } }: { readonly config: AgentConfig; readonly world: World },
  node: string,
): ReadCredentials {
  const read = (file: string): Buffer | undefined => disk.read(file)
  const token = (): string | undefined => {
    const file = config.control?.token
    const content = file === undefined ? undefined : disk.read(file)
    return content && file !== undefined ? readToken(content, file) : undefined
  }
  return ({ credentials }) => readBridgeCredentials(credentials, { read, token, node })
}
