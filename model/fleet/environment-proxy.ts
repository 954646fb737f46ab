/**
 * HTTPS_PROXY and NO_PROXY of the environment, as Go's httpproxy and curl read them: in capitals or small letters,
 * `http://user:password@host:port` or `host:port` (port 80 where none is said); NO_PROXY with commas or spaces. This
 * machine is always reached directly.
 */
import { MeshError } from '../../core/errors.ts'
import type { EnvironmentProxy } from '../ip.ts'

/** Of the places where a proxy may stand. */
const LOOPBACK = ['localhost', '127.0.0.0/8', '::1']
const MAX_ENTRIES = 1_024

type Env = Readonly<Record<string, string | undefined>>

/** @throws MESH_CONFIG_INVALID for a value that names no HTTP proxy, without its credentials */
export function readEnvironmentProxy(env: Env): EnvironmentProxy | undefined {
  const found = read(env, 'HTTPS_PROXY')
  if (!found) return undefined
  const noProxy = (read(env, 'NO_PROXY')?.value ?? '')
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .slice(0, MAX_ENTRIES)
  const url = URL.parse(found.value.includes('://') ? found.value : `http://${found.value}`)
  if (!url || url.hostname === '')
    throw new MeshError('MESH_CONFIG_INVALID', `${found.name} of the environment is no URL: http://host:port is meant`)
  if (url.protocol !== 'http:')
    throw new MeshError(
      'MESH_CONFIG_INVALID',
      `${found.name} of the environment names a proxy of ${url.protocol}//, and http:// alone is spoken: name another, or the targets in NO_PROXY`,
    )
  return {
    address: { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) },
    credentials:
      url.username === '' ? undefined : `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`,
    noProxy: [...LOOPBACK, ...noProxy],
  }
}

function read(env: Env, name: string): { readonly name: string; readonly value: string } | undefined {
  for (const one of [name, name.toLowerCase()]) {
    const value = env[one]?.trim()
    if (value) return { name: one, value }
  }
  return undefined
}
