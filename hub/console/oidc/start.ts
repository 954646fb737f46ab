/** The issuer of hub.yaml, if there is one. */
import fs from 'node:fs'
import { MeshError } from '../../../core/errors.ts'
import { createSealer, type Sealer } from '../../../core/pki/sealing.ts'
import type { Clock } from '../../../core/os/clock.ts'
import type { Tokens } from '../../tokens.ts'
import type { ConsoleSettings, OidcSettings } from '../settings.ts'
import { Provider } from './provider.ts'

export function createProvider(settings: OidcSettings, clock: Clock): Provider {
  const { clientSecretFile, roots } = settings
  return new Provider({
    settings,
    clock,
    secret: clientSecretFile === undefined ? undefined : readSetting(clientSecretFile, 'clientSecretFile').trim(),
    roots: roots === undefined ? undefined : readSetting(roots, 'roots'),
  })
}

/** The same for every replica that has the key of the hub. */
export function createFlowSealer(tokens: Pick<Tokens, 'deriveSecret'>): Sealer {
  return createSealer(tokens.deriveSecret('console login'), 'the key of the hub')
}

export function readPublicOrigin({ publicUrl }: ConsoleSettings): string | undefined {
  return publicUrl === undefined ? undefined : URL.parse(publicUrl)!.origin
}

/** Throws MESH_CONFIG_INVALID. */
function readSetting(file: string, name: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (cause) {
    throw new MeshError('MESH_CONFIG_INVALID', `console.oidc.${name}: ${file} cannot be read`, { cause })
  }
}
