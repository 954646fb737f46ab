/**
 * mesh.yaml's defaultConfig (istio.mesh.v1alpha1.ProxyConfig in JSON form) as settings of agent.yaml, as far as there
 * are any.
 */
import type { ConfigProblem, Origin, ReadYaml } from '../../core/yaml.ts'
import type { EnvEntry } from './env-file.ts'

type Fields = Readonly<Record<string, unknown>>
export type MeshSettings = {
  readonly discoveryAddress: string | undefined
  readonly meshId: string | undefined
  readonly capture: string | undefined
  readonly proxyMetadata: readonly EnvEntry[]
  /** All of it, for node metadata: istiod reads the probe and more from there. */
  readonly proxyConfig: Fields
  /** Everything else, in agent.yaml's form. */
  readonly settings: Fields
  readonly origins: ReadonlyMap<string, Origin>
  readonly problems: readonly ConfigProblem[]
  readonly ignored: readonly string[]
}

const PROBE_FIELDS: Readonly<Record<string, readonly string[]>> = {
  '': [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
    'httpGet',
    'tcpSocket',
    'exec',
    'grpc',
  ],
  httpGet: ['path', 'port', 'host', 'scheme', 'httpHeaders'],
  tcpSocket: ['host', 'port'],
  exec: ['command'],
  grpc: ['port', 'service'],
}

export function meshSettings(mesh: ReadYaml, file: string): MeshSettings {
  const problems: ConfigProblem[] = mesh.problems.map((p) => ({ ...p, file }))
  const ignored: string[] = []
  const origins = new Map<string, Origin>()
  const at = (path: readonly PropertyKey[]): Origin => ({ file, line: mesh.lineOf(path) ?? 1 })
  const leave = (path: readonly string[], why = ''): void => {
    ignored.push(`${file}:${at(path).line}: ${path.join('.')}${why}`)
  }
  const wrong = (path: readonly string[], problem: string): void => {
    problems.push({ ...at(path), path: path.join('.'), problem })
  }
  const fields = (path: readonly string[], value: unknown): Fields => {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
    if (value !== undefined && value !== null) wrong(path, 'must hold named settings')
    return {}
  }

  const top = fields([], mesh.plain)
  for (const key of Object.keys(top)) if (key !== 'defaultConfig') leave([key])
  const proxyConfig = fields(['defaultConfig'], top['defaultConfig'])
  const settings: Record<string, unknown> = {}
  let capture: string | undefined
  /** The value at `key` becomes the setting at `to`. */
  const becomes = (key: string, to: string): void => {
    origins.set(to, at(['defaultConfig', key]))
  }
  const text = (key: string): string | undefined => {
    const value = proxyConfig[key]
    if (value === undefined || value === '') return undefined
    if (typeof value !== 'string') {
      wrong(['defaultConfig', key], 'must be a text')
      return undefined
    }
    return value
  }
  for (const [key, value] of Object.entries(proxyConfig)) {
    const path = ['defaultConfig', key]
    switch (key) {
      case 'discoveryAddress':
        becomes(key, 'control.address')
        break
      case 'meshId':
        becomes(key, 'node.meshId')
        break
      case 'proxyMetadata':
        break
      case 'proxyAdminPort':
        settings['admin'] = { port: value }
        becomes(key, 'admin.port')
        break
      case 'terminationDrainDuration':
        settings['limits'] = { drainMs: milliseconds(value) }
        becomes(key, 'limits.drainMs')
        break
      case 'interceptionMode':
        capture = value === 'NONE' ? 'explicit' : undefined
        // What the mesh says for its sidecars. On a node of its own it takes sockets and rules, or would serve nobody
        // (capture.ts): it has to be asked for.
        if (capture === undefined)
          leave(
            path,
            value === 'TPROXY'
              ? ' (docs/istio.md: capture: transparent in agent.yaml)'
              : ' (connections that iptables redirects are not served)',
          )
        else becomes(key, 'capture')
        break
      case 'readinessProbe':
        settings[key] = probe(path, value)
        break
      default:
        leave(path)
    }
  }
  return {
    discoveryAddress: text('discoveryAddress'),
    meshId: text('meshId'),
    capture,
    proxyConfig,
    settings,
    origins,
    problems,
    ignored,
    proxyMetadata: Object.entries(fields(['defaultConfig', 'proxyMetadata'], proxyConfig['proxyMetadata'])).map(
      ([key, value]) => ({ key, value: String(value), line: at(['defaultConfig', 'proxyMetadata', key]).line }),
    ),
  }

  /** The same form as agent.yaml's; what a newer Istio adds is left out. */
  function probe(path: readonly string[], value: unknown): Fields {
    const known = (level: string, here: readonly string[], from: unknown): Fields =>
      Object.fromEntries(
        Object.entries(fields(here, from)).flatMap(([key, inner]) => {
          const place = [...here, key]
          if (!PROBE_FIELDS[level]!.includes(key)) {
            leave(place)
            return []
          }
          origins.set(place.slice(1).join('.'), at(place))
          return [[key, level === '' && key in PROBE_FIELDS ? known(key, place, inner) : inner]]
        }),
      )
    origins.set('readinessProbe', at(path))
    return known('', path, value)
  }
}

/**
 * A protobuf duration such as 7s or 0.5s (google.protobuf.Duration in JSON); what is none is left for the schema to
 * refuse.
 */
function milliseconds(value: unknown): unknown {
  return typeof value === 'string' && /^\d+(\.\d+)?s$/.test(value)
    ? Math.max(1, Math.round(Number(value.slice(0, -1)) * 1000))
    : value
}
