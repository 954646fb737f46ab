import { MeshError, toMeshError } from '../core/errors.ts'
import type { KeySource } from '../core/jwt/key-source.ts'
import { readTrustedFile } from '../core/os/files/trusted-file.ts'
import type { World } from '../core/world.ts'
import type { KeySets } from '../protocols/jwks/key-sets.ts'
import { readBridgeCredentials, type ReadCredentials } from '../protocols/mqtt/users/bridge-credentials.ts'
import { UserDatabase } from '../protocols/mqtt/users/user-database.ts'
import type { AgentConfig } from './config/schema.ts'
import type { AgentIdentity } from './identity.ts'
import type { Foundation } from './parts/foundation.ts'
import { readToken } from './control-sync-settings.ts'
import { createTokenTime } from './parts/token-time.ts'

/** Resolves when its files were looked at. */
export async function openMqttUsers(
  { config, world, scope, log, metrics }: Foundation,
  { validity }: Pick<AgentIdentity, 'validity'>,
  keySets: KeySets,
): Promise<UserDatabase> {
  const { disk, clock } = world
  const time = createTokenTime({ validity }, clock)
  const fetchKeys = (url: string): KeySource => keySets.openDirect(url)
  const users = scope.own(new UserDatabase({ settings: config.mqtt.users, disk, clock, log, metrics, time, fetchKeys }))
  await users.ready
  return users
}

/** `user:password` for an HTTP proxy, or a pre-shared key. @throws MESH_MQTT_CREDENTIALS */
export function readProxyCredentials({ disk }: World, file: string): string {
  try {
    return readTrustedFile(disk, file, MAX_CREDENTIALS_BYTES).bytes.toString('utf8')
  } catch (cause) {
    throw new MeshError('MESH_MQTT_CREDENTIALS', `mqtt.bridges: ${file}: ${toMeshError(cause).message}`, {
      cause,
    })
  }
}
/** A user and a password, each of which has 65,535 bytes at most [MQTT-1.5.6]. */
const MAX_CREDENTIALS_BYTES = 2 * 65_536

/** @param node name of this agent */
export function openBridgeCredentials(
  { config, world: { disk } }: { readonly config: AgentConfig; readonly world: World },
  node: string,
): ReadCredentials {
  const read = (file: string): Buffer => readTrustedFile(disk, file, MAX_CREDENTIALS_BYTES).bytes
  const token = (): string | undefined => {
    const file = config.control?.token
    const content = file === undefined ? undefined : disk.read(file)
    return content && file !== undefined ? readToken(content, file) : undefined
  }
  return ({ credentials }) => readBridgeCredentials(credentials, { read, token, node })
}
