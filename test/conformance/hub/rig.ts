/** Two shipped hubs on one PostgreSQL behind a balancer of TCP, and devices that do what agents do, as bare protocol. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { Client, credentials } from '@grpc/grpc-js'
import { askHub, type HubClientOptions } from '../../../control-sync/fleet/hub-client.ts'
import { hashThumbprint, signEs256, toEs256Jwk } from '../../../core/jwt/sign.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { CLUSTER } from '../../../hub/source/resources.ts'
import { JOIN_PATH, RENEW_PATH } from '../../../model/fleet/enrollment.ts'
import { freePorts } from '../../../tools/free-ports.ts'
import { makeCsr } from '../../hub/ca/make-csr.ts'
import { DeltaStream } from '../../hub/start-hub.ts'
import { distFile, run, sleep, start, temporaryFolder, type Finally, type Running } from '../programs.ts'

export type Replica = { readonly config: string; readonly api: number; readonly grpc: number; running: Running }

const SERVER_NAME = 'hub.demo.mesh'
type Settings = { readonly folder: string; readonly grpc: number; readonly api: number; readonly url: string }
const settings = (p: Settings): string =>
  `listen: 127.0.0.1:${p.grpc}
api: {listen: "127.0.0.1:${p.api}", requestsPerMinute: 1000000}
dnsNames: [127.0.0.1, ${SERVER_NAME}]
trustDomain: demo.mesh
resources: ${p.folder}/resources
state: ${p.folder}/state
admin: {port: 0}
store: {url: "${p.url}", statementMs: 3000}
limits: {maxStreams: 20000, maxStreamsPerIdentity: 20000, maxJoinsPerHour: 1000000, maxStrangersPerAddress: 1000}
`

/** @param first whose folder `ca` it gets */
export async function startReplica(
  t: Finally,
  url: string,
  first?: Replica,
  o: { readonly settings?: string; readonly resources?: Readonly<Record<string, string>> } = {},
): Promise<Replica> {
  const folder = temporaryFolder(t)
  const [grpc, api] = (await freePorts(2)) as [number, number]
  const config = `${folder}/hub.yaml`
  fs.writeFileSync(config, settings({ folder, grpc, api, url }) + (o.settings ?? ''))
  fs.mkdirSync(`${folder}/resources`)
  for (const [name, text] of Object.entries(o.resources ?? {})) fs.writeFileSync(`${folder}/resources/${name}`, text)
  if (first) {
    fs.mkdirSync(`${folder}/state`, { mode: 0o700 })
    fs.cpSync(path.join(path.dirname(first.config), 'state/ca'), `${folder}/state/ca`, { recursive: true })
  }
  const replica = { config, grpc, api, running: startHub(t, config) }
  await replica.running.listening(api)
  return replica
}
export const startHub = (t: Finally, config: string): Running =>
  start(t, process.execPath, [distFile('meshlet-hub.cjs'), 'run', '-c', config])

export async function command({ config }: Replica, ...words: string[]): Promise<string> {
  const { code, out, err } = await run(process.execPath, [distFile('meshlet-hub.cjs'), ...words, '-c', config])
  if (code !== 0) throw new Error(err)
  return out
}

/** Each connection goes to the next that takes it. */
export async function startBalancer(t: Finally, ports: readonly number[]): Promise<number> {
  let next = 0
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    const attempt = (left: number): void => {
      const upstream = net.connect({ port: ports[next++ % ports.length]!, host: '127.0.0.1' })
      upstream.once('connect', () => {
        upstream.on('close', () => socket.destroy())
        socket.on('close', () => upstream.destroy())
        socket.pipe(upstream).pipe(socket)
      })
      upstream.on('error', () => {
        if (upstream.connecting || left === 0) socket.destroy()
        else attempt(left - 1)
      })
    }
    attempt(ports.length - 1)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => void server.close())
  return (server.address() as net.AddressInfo).port
}

export type Balanced = { readonly api: number; readonly grpc: number; readonly roots: string }
type Last = { readonly counter: number; readonly chain: string }

/** Refusals that trying again does not mend. */
const FINAL = /^MESH_(?:DEVICE_|TOKEN_INVALID|CONTROL_FORBIDDEN)/
const RETRY_MS = 50

export class SimulatedDevice {
  readonly name: string
  readonly keyId: string
  readonly #hub: HubClientOptions
  readonly #balanced: Balanced
  readonly #csr = makeCsr()
  #certificate: string | undefined
  /** What the hub has answered last. */
  last: Last | undefined
  /** Why it will have nothing any more. */
  refused: string | undefined
  isStreaming = false
  /** Revisions that it was sent, each once for as long as it has it. */
  readonly sent: string[] = []
  /** When its stream has ended for good, `performance.now()`. */
  endedMs = 0
  #isOver = false

  constructor(name: string, balanced: Balanced) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    const jwk = toEs256Jwk(privateKey)!
    this.name = name
    this.keyId = hashThumbprint(jwk)
    this.#balanced = balanced
    this.#hub = {
      url: new URL(`https://127.0.0.1:${balanced.api}`),
      trust: { rootsPem: balanced.roots },
      certificateClock: { nowMs: () => Date.now(), clockIsWrong: false, seen: () => {} },
      findProxy: undefined,
      clock: systemClock,
      key: { jwk, keyId: this.keyId, sign: async (bytes) => signEs256(bytes, privateKey) },
    }
  }

  async join(token: string): Promise<void> {
    const wish = { token, name: this.name, csr: this.#csr.csrPem, ttlSec: 0 }
    const body = await this.#ask(JOIN_PATH, wish)
    const renewed = body?.['renewed'] as (Last & { certChain: string[] }) | undefined
    if (!renewed) return
    this.last = renewed
    this.#certificate = renewed.certChain.join('')
    void this.#stream()
  }
  async renew(): Promise<void> {
    const body = (await this.#ask(RENEW_PATH, { ...this.last!, ttlSec: 0 })) as Last | undefined
    if (body) this.last = { counter: body.counter, chain: body.chain }
  }
  leave(): void {
    this.#isOver = true
  }

  /** As an agent: what got no answer is asked again with the same nonce. */
  async #ask(
    path: string,
    { counter, chain, ...wish }: Record<string, unknown>,
  ): Promise<Record<string, unknown> | undefined> {
    const nonce = randomBytes(16).toString('base64url')
    const claims = { ...wish, nonce, ...(counter === undefined ? {} : { counter, chain }) }
    while (!this.#isOver) {
      try {
        return (await askHub(this.#hub, path, claims)).body as Record<string, unknown>
      } catch (err) {
        const { code } = err as { code: string }
        if (FINAL.test(code)) {
          this.refused = code
          return undefined
        }
        await sleep(RETRY_MS)
      }
    }
    return undefined
  }

  /** @returns false: the stream has ended */
  async #take(stream: DeltaStream): Promise<boolean> {
    const response = await stream.next().catch(() => undefined)
    if (!response) return false
    const { nonce: responseNonce, systemVersionInfo: revision } = response
    stream.ask({ typeUrl: CLUSTER, responseNonce })
    if (revision !== this.sent.at(-1)) this.sent.push(revision)
    return true
  }

  async #stream(): Promise<void> {
    while (!this.#isOver) {
      const client = new Client(
        `127.0.0.1:${this.#balanced.grpc}`,
        credentials.createSsl(
          Buffer.from(this.#balanced.roots),
          Buffer.from(this.#csr.keyPem),
          Buffer.from(this.#certificate!),
        ),
        { 'grpc.ssl_target_name_override': SERVER_NAME },
      )
      const stream = new DeltaStream(client)
      stream.ask({ node: { id: this.name }, typeUrl: CLUSTER })
      while (await this.#take(stream)) this.isStreaming = true
      this.endedMs = performance.now()
      this.isStreaming = false
      client.close()
      await sleep(RETRY_MS)
    }
  }
}
