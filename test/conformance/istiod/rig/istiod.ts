/**
 * A real istiod as a process of the test's own: free ports, a CA plugged in, tokens that it accepts, and a folder of
 * Istio YAML that it watches.
 */
import fs from 'node:fs'
import path from 'node:path'
import { parseAllDocuments } from 'yaml'
import { freePorts } from '../../../../tools/free-ports.ts'
import { sleep, start, temporaryFolder, until, type Finally, type Running } from '../../programs.ts'
import { istioBinaries } from './binaries.ts'
import { TokenIssuer, type TokenClaims } from './tokens.ts'
import { MeshCa } from './trust.ts'

export type IstiodOptions = {
  /**
   * `kube`: over the in-memory API, which switches auto-registration and health on. Default: a folder, as istiod's
   * --configDir.
   */
  readonly store?: 'file' | 'kube'
  /** Connections are closed after so long and a little (gRPC spreads by 10 %); default: never. Helm sets 30 min. */
  readonly maxAgeMs?: number
  /** After maxAge, for open streams; default: istiod's own 10 s. */
  readonly maxAgeGraceMs?: number
  readonly revision?: string
  /** Further environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Further lines of mesh.yaml. */
  readonly mesh?: string
  /** Its meshNetworks file; default: none. */
  readonly networks?: string
  /** Of another istiod of the same mesh. */
  readonly ca?: MeshCa
  readonly issuer?: TokenIssuer
}

export const ISTIOD_NAME = 'istiod.istio-system.svc'

/** As Helm installs it, so that istio.stats filters are there. */
const MESH = `trustDomain: cluster.local
defaultProviders: {metrics: [prometheus]}
defaultConfig: {discoveryAddress: "${ISTIOD_NAME}:15012"}
`

const MAX_STARTS = 3
/** After it says that it is ready. Over the in-memory API it hears of them a moment later. */
const ENDPOINTS_MS = 2_000

export class Istiod {
  readonly folder: string
  readonly issuer: TokenIssuer
  /** Replaced by a rotation. */
  ca: MeshCa
  readonly #t: Finally
  readonly #o: IstiodOptions
  readonly #ports: readonly number[]
  process!: Running

  private constructor(t: Finally, o: IstiodOptions, ports: readonly number[], issuer: TokenIssuer) {
    this.#t = t
    this.#o = o
    this.#ports = ports
    this.folder = temporaryFolder(t)
    this.issuer = issuer
    this.ca = o.ca ?? new MeshCa()
    fs.mkdirSync(path.join(this.folder, 'config'))
    fs.writeFileSync(path.join(this.folder, 'mesh.yaml'), MESH + (o.mesh ?? ''))
    if (o.networks !== undefined) fs.writeFileSync(path.join(this.folder, 'networks.yaml'), o.networks)
    this.ca.writeTo(path.join(this.folder, 'cacerts'))
  }

  /** Starts nothing yet, so that configuration can be written first. */
  static async create(t: Finally, o: IstiodOptions = {}): Promise<Istiod> {
    return new Istiod(t, o, await freePorts(5), o.issuer ?? (await TokenIssuer.start(t)))
  }

  /** HOST:PORT of configuration and CA over TLS. */
  get address(): string {
    return `127.0.0.1:${this.#ports[0]}`
  }
  /** The same without TLS and without identities. */
  get plainAddress(): string {
    return `127.0.0.1:${this.#ports[1]}`
  }
  get certificatesFolder(): string {
    return path.join(this.folder, 'cacerts')
  }

  /**
   * An istiod that begins with services in its folder sometimes (once in some fifty starts) never hears of their
   * endpoints: serviceentry/controller.go registers the handlers for them, without the existing state, when the
   * collections may have it already. Whoever connects gets clusters without endpoints until their ServiceEntry changes,
   * and nothing that a client does helps. Such a one is started anew.
   */
  async start(): Promise<void> {
    for (let starts = 1; ; starts++) {
      await this.#startOnce()
      // Still missing after some starts: it refuses them, which is the test's own matter.
      if (starts === MAX_STARTS || (await this.#knowsEndpoints())) return
      console.error('istiod has missed endpoints of its folder, it is started anew')
      await this.stop()
    }
  }
  async #knowsEndpoints(): Promise<boolean> {
    const by = performance.now() + ENDPOINTS_MS
    while ((await this.#servicesWithoutEndpoints()).length > 0) {
      if (performance.now() > by) return false
      await sleep(20)
    }
    return true
  }
  /** Hosts of the ServiceEntries of its folder that name endpoints, of which istiod knows none. */
  async #servicesWithoutEndpoints(): Promise<readonly string[]> {
    const folder = path.join(this.folder, 'config')
    const hosts = fs
      .readdirSync(folder)
      .filter((file) => file.endsWith('.yaml'))
      .flatMap((file) => findHostsWithEndpoints(fs.readFileSync(path.join(folder, file), 'utf8')))
    if (hosts.length === 0) return []
    const known = JSON.parse((await this.get('/debug/endpointz'))?.text ?? '{}') as object
    return hosts.filter((host) => !(host in known))
  }
  async #startOnce(): Promise<void> {
    const { store = 'file', maxAgeMs, maxAgeGraceMs, revision, env, networks } = this.#o
    const [secure, plain, http, monitoring, dump] = this.#ports.map((port) => `127.0.0.1:${port}`) as [
      string,
      string,
      string,
      string,
      string,
    ]
    this.process = start(
      this.#t,
      istioBinaries().istiod,
      [
        '-configDir',
        path.join(this.folder, 'config'),
        '-meshConfig',
        path.join(this.folder, 'mesh.yaml'),
        ...(networks === undefined ? [] : ['-networksConfig', path.join(this.folder, 'networks.yaml')]),
        '-store',
        store,
        '-dump',
        dump,
        '-secureGRPCAddr',
        secure,
        '-grpcAddr',
        plain,
        '-httpAddr',
        http,
        '-monitoringAddr',
        monitoring,
        ...(maxAgeMs === undefined ? [] : ['-maxAge', `${maxAgeMs}ms`]),
        ...(maxAgeGraceMs === undefined ? [] : ['-maxAgeGrace', `${maxAgeGraceMs}ms`]),
      ],
      {
        cwd: this.folder,
        env: {
          ROOT_CA_DIR: this.certificatesFolder,
          JWT_RULE: this.issuer.jwtRule,
          POD_NAME: `istiod-${revision ?? 'default'}-0`,
          POD_NAMESPACE: 'istio-system',
          ...(revision === undefined ? {} : { REVISION: revision }),
          ...env,
        },
      },
    )
    const { process } = this
    // What it takes for a mistake of its clients: a name subscribed twice, or a request that asks for nothing. Not
    // thrown: what is to be stopped after this would not be.
    this.#t.after(() => {
      const complaints = process.log.split('\n').filter((l) => l.includes('check mismatch'))
      if (complaints.length > 0) {
        console.error(`istiod complains of a client:\n${complaints.join('\n')}`)
        globalThis.process.exitCode = 1
      }
    })
    await this.process.until('istiod is ready', async () => (await this.get('/ready'))?.status === 200)
    await this.process.listening(this.#ports[0]!)
  }
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.process.stop(signal)
  }
  async restart(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.stop(signal)
    await this.start()
  }

  /**
   * Puts Istio YAML in force; istiod pushes some 0.4 s later. Replaced whole, as a half-written file would be a mistake
   * of the test's.
   */
  write(name: string, yaml: string): void {
    const file = path.join(this.folder, 'config', `${name}.yaml`)
    fs.writeFileSync(`${file}.new`, yaml)
    fs.renameSync(`${file}.new`, file)
  }
  remove(name: string): void {
    fs.rmSync(path.join(this.folder, 'config', `${name}.yaml`))
  }

  /** A Kubernetes Secret (`store: kube`): istiod tells it to gateways that name it. @param data by key, as text */
  secret(namespace: string, name: string, data: Readonly<Record<string, string>>): void {
    const encoded = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')])
    const secret = { metadata: { name, namespace }, type: 'Opaque', data: Object.fromEntries(encoded) as object }
    const file = this.#secretFile(namespace, name)
    fs.writeFileSync(`${file}.new`, JSON.stringify(secret))
    fs.renameSync(`${file}.new`, file)
  }
  removeSecret(namespace: string, name: string): void {
    fs.rmSync(this.#secretFile(namespace, name), { force: true })
  }
  #secretFile(namespace: string, name: string): string {
    return path.join(this.folder, 'config', `${namespace}.${name}.secret.json`)
  }

  /** Another mesh.yaml in force: a full push to everybody. */
  mesh(more: string): void {
    fs.writeFileSync(path.join(this.folder, 'mesh.yaml'), MESH + more)
  }

  token(claims: TokenClaims = {}): string {
    return this.issuer.token(claims)
  }

  /** A page of istiod's own port: /ready, /debug/…; undefined when nobody answers. */
  async get(page: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
    return fetchText(`http://127.0.0.1:${this.#ports[2]}${page}`)
  }
  /** What istiod thinks of its clients: /debug/syncz. */
  async syncz(): Promise<readonly SyncStatus[]> {
    const page = await this.get('/debug/syncz')
    return page?.status === 200 ? ((JSON.parse(page.text) as SyncStatus[] | null) ?? []) : []
  }
  /** One counter or gauge of istiod's /metrics, summed over the label sets that contain `label`. */
  async metric(name: string, label = ''): Promise<number> {
    const page = await fetchText(`http://127.0.0.1:${this.#ports[3]}/metrics`)
    return (page?.text ?? '')
      .split('\n')
      .filter((l) => (l.startsWith(`${name}{`) || l.startsWith(`${name} `)) && l.includes(label))
      .reduce((sum, l) => sum + Number(l.slice(l.lastIndexOf(' '))), 0)
  }
  /** What the in-memory API holds of one kind (`store: kube`). */
  async objects(kind: string): Promise<readonly StoredObject[]> {
    const page = await fetchText(`http://127.0.0.1:${this.#ports[4]}/`)
    return page ? (JSON.parse(page.text) as StoredObject[]).filter((o) => o.type.kind === kind) : []
  }
  until<T>(
    what: string,
    ask: () => T | undefined | false | Promise<T | undefined | false>,
    withinMs?: number,
  ): Promise<T> {
    return until(what, ask, withinMs, () => this.process.log.slice(-3000))
  }
}

/**
 * `resources` by short type name: the nonce that was sent last, the one that was acknowledged last, what was refused.
 */
export type SyncStatus = {
  readonly proxy: string
  readonly resources?: Readonly<
    Record<string, { readonly sent?: string; readonly acked?: string; readonly lastError?: string }>
  >
}
export type StoredObject = {
  readonly type: { readonly kind: string }
  readonly namespace: string
  readonly name: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly Spec: object
  readonly Status?: object
}

function findHostsWithEndpoints(yaml: string): readonly string[] {
  return parseAllDocuments(yaml).flatMap((document) => {
    const { kind, spec } = (document.toJS() ?? {}) as {
      readonly kind?: string
      readonly spec?: { readonly hosts?: readonly string[]; readonly endpoints?: readonly object[] }
    }
    return kind === 'ServiceEntry' && spec?.endpoints ? (spec.hosts ?? []) : []
  })
}

async function fetchText(url: string): Promise<{ readonly status: number; readonly text: string } | undefined> {
  try {
    const res = await fetch(url, { headers: { connection: 'close' } })
    return { status: res.status, text: await res.text() }
  } catch {
    return undefined
  }
}
