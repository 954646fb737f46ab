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

export function readMeshSettings(mesh: ReadYaml, file: string): MeshSettings {
  return new MeshReader(mesh, file).read()
}

class MeshReader {
  readonly #mesh: ReadYaml
  readonly #file: string
  readonly #problems: ConfigProblem[]
  readonly #ignored: string[] = []
  readonly #origins = new Map<string, Origin>()
  readonly #settings: Record<string, unknown> = {}
  #capture: string | undefined

  constructor(mesh: ReadYaml, file: string) {
    this.#mesh = mesh
    this.#file = file
    this.#problems = mesh.problems.map((p) => ({ ...p, file }))
  }

  read(): MeshSettings {
    const top = this.#fields([], this.#mesh.plain)
    for (const key of Object.keys(top)) if (key !== 'defaultConfig') this.#ignore([key])
    const proxyConfig = this.#fields(['defaultConfig'], top['defaultConfig'])
    for (const [key, value] of Object.entries(proxyConfig)) this.#take(key, value)
    return {
      discoveryAddress: this.#text('discoveryAddress', proxyConfig),
      meshId: this.#text('meshId', proxyConfig),
      capture: this.#capture,
      proxyConfig,
      settings: this.#settings,
      origins: this.#origins,
      problems: this.#problems,
      ignored: this.#ignored,
      proxyMetadata: this.#proxyMetadata(proxyConfig),
    }
  }

  #take(key: string, value: unknown): void {
    const path = ['defaultConfig', key]
    switch (key) {
      case 'discoveryAddress':
        return this.#becomes('control.address', path)
      case 'meshId':
        return this.#becomes('node.meshId', path)
      case 'proxyMetadata':
      // Those of PROXY_CONFIG that istiod acts upon: it makes a gateway's listeners by it.
      case 'gatewayTopology':
        return
      case 'proxyAdminPort':
        this.#settings['admin'] = { port: value }
        return this.#becomes('admin.port', path)
      case 'terminationDrainDuration':
        this.#settings['limits'] = { drainMs: milliseconds(value) }
        return this.#becomes('limits.drainMs', path)
      case 'interceptionMode':
        return this.#takeInterceptionMode(value, path)
      case 'readinessProbe':
        this.#becomes('readinessProbe', path)
        this.#settings[key] = this.#probeFields('', value, path)
        return
      default:
        this.#ignore(path)
    }
  }

  /**
   * The mesh sets it for sidecars. On a node it needs sockets and firewall rules (capture.ts), so agent.yaml has to ask
   * for it.
   */
  #takeInterceptionMode(value: unknown, path: readonly string[]): void {
    if (value === 'NONE') {
      this.#capture = 'explicit'
      this.#becomes('capture', path)
    } else if (value === 'TPROXY') this.#ignore(path, ' (docs/istio.md: capture: transparent in agent.yaml)')
    else this.#ignore(path, ' (connections that iptables redirects are not served)')
  }

  /** The same form as agent.yaml's; what a newer Istio adds is left out. */
  #probeFields(level: string, value: unknown, here: readonly string[]): Fields {
    return Object.fromEntries(
      Object.entries(this.#fields(here, value)).flatMap(([key, inner]) => {
        const path = [...here, key]
        if (!PROBE_FIELDS[level]!.includes(key)) {
          this.#ignore(path)
          return []
        }
        this.#becomes(path.slice(1).join('.'), path)
        return [[key, level === '' && key in PROBE_FIELDS ? this.#probeFields(key, inner, path) : inner]]
      }),
    )
  }

  #proxyMetadata(proxyConfig: Fields): EnvEntry[] {
    const path = ['defaultConfig', 'proxyMetadata']
    return Object.entries(this.#fields(path, proxyConfig['proxyMetadata'])).map(([key, value]) => ({
      key,
      value: String(value),
      line: this.#originOf([...path, key]).line,
    }))
  }

  #fields(path: readonly string[], value: unknown): Fields {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
    if (value !== undefined && value !== null) this.#refuse(path, 'must hold named settings')
    return {}
  }
  #text(key: string, proxyConfig: Fields): string | undefined {
    const value = proxyConfig[key]
    if (value === undefined || value === '') return undefined
    if (typeof value === 'string') return value
    this.#refuse(['defaultConfig', key], 'must be a text')
    return undefined
  }

  #becomes(setting: string, path: readonly string[]): void {
    this.#origins.set(setting, this.#originOf(path))
  }
  #ignore(path: readonly string[], why = ''): void {
    this.#ignored.push(`${this.#file}:${this.#originOf(path).line}: ${path.join('.')}${why}`)
  }
  #refuse(path: readonly string[], problem: string): void {
    this.#problems.push({ ...this.#originOf(path), path: path.join('.'), problem })
  }
  #originOf(path: readonly string[]): Origin {
    return { file: this.#file, line: this.#mesh.lineOf(path) ?? 1 }
  }
}

/**
 * A protobuf duration such as 7s or 0.5s (google.protobuf.Duration in JSON). Anything else is left for the schema to
 * refuse.
 */
function milliseconds(value: unknown): unknown {
  return typeof value === 'string' && /^\d+(\.\d+)?s$/.test(value)
    ? Math.max(1, Math.round(Number(value.slice(0, -1)) * 1000))
    : value
}
