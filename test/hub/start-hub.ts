/** A hub in this process on a port of its own, with gRPC clients for it. */
import {
  Client,
  credentials,
  Metadata,
  type ChannelOptions,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { generateKeyPairSync } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import pino from 'pino'
import { systemClock, systemRandom } from '../../core/os/clock.ts'
import { systemDisk } from '../../core/os/disk.ts'
import { Metrics } from '../../core/metrics.ts'
import {
  DeltaDiscoveryRequestSchema,
  DiscoveryRequestSchema,
} from '../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { IstioCertificateRequestSchema } from '../../proto/gen/istio/v1/auth/ca_pb.ts'
import {
  ADS,
  CA,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  type DiscoveryRequest,
  type DiscoveryResponse,
  type IstioCertificateResponse,
} from '../../proto/services.ts'
import { CLUSTER } from '../../hub/source/resources.ts'
import { parseHubConfig } from '../../hub/config.ts'
import { startHub, type Hub, type HubWorld } from '../../hub/hub.ts'
import { makeCsr } from './ca/make-csr.ts'

export type TestHub = {
  readonly hub: Hub
  readonly folder: string
  readonly metrics: Metrics
  readonly lines: readonly Record<string, unknown>[]
  write(file: string, text: string): void
  /** What was written is a revision, and devices are sent it. */
  taken(): Promise<void>
  /** gRPC to the hub; with a certificate when one is given. */
  client(
    shown?: { readonly keyPem: string; readonly chainPem: string },
    port?: number,
    options?: ChannelOptions,
  ): Client
}
type Finally = { after(fn: () => void | Promise<void>): void }

function createWriter(folder: string, lines: readonly Record<string, unknown>[]): Pick<TestHub, 'write' | 'taken'> {
  const countTaken = (): number => lines.filter(({ evt }) => evt === 'hub.folder').length
  let takenBefore = 0
  return {
    write(file, text) {
      fs.mkdirSync(path.dirname(path.join(folder, 'resources', file)), { recursive: true })
      fs.writeFileSync(path.join(folder, 'resources', file), text)
      takenBefore = countTaken()
    },
    async taken() {
      while (countTaken() === takenBefore)
        await new Promise((resolve) => {
          setTimeout(resolve, 20)
        })
    },
  }
}

/** @param prepare what is in the folder before the hub starts */
export async function testHub(
  t: Finally,
  settings = '',
  world: Partial<HubWorld> = {},
  prepare: (folder: string) => void = () => {},
): Promise<TestHub> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hub-'))
  prepare(folder)
  const lines: Record<string, unknown>[] = []
  const metrics = new Metrics()
  const config = parseHubConfig(
    `listen: 127.0.0.1:0\nresources: ${folder}/resources\nstate: ${folder}/state\ntrustDomain: demo.mesh\n${settings.includes('dnsNames:') ? '' : 'dnsNames: [hub.demo.mesh]\n'}admin: {port: 0}\n${settings}`,
  )
  const log = pino(
    { level: 'debug' },
    {
      write: (line: string) => {
        lines.push(JSON.parse(line) as Record<string, unknown>)
      },
    },
  )
  const hub = await startHub(
    config,
    { clock: systemClock, random: systemRandom, disk: systemDisk, ...world },
    { log, metrics },
  )
  const clients: Client[] = []
  t.after(async () => {
    for (const client of clients) client.close()
    await hub[Symbol.asyncDispose]()
    fs.rmSync(folder, { recursive: true })
  })
  return {
    hub,
    folder,
    metrics,
    lines,
    ...createWriter(folder, lines),
    client(shown, port = hub.port, options = {}) {
      const roots = Buffer.from(hub.rootsPem)
      const client = new Client(
        `127.0.0.1:${port}`,
        shown
          ? credentials.createSsl(roots, Buffer.from(shown.keyPem), Buffer.from(shown.chainPem))
          : credentials.createSsl(roots),
        { 'grpc.ssl_target_name_override': 'hub.demo.mesh', ...options },
      )
      clients.push(client)
      return client
    },
  }
}

export function bearer(...tokens: string[]): Metadata {
  const metadata = new Metadata()
  for (const token of tokens) metadata.add('authorization', `Bearer ${token}`)
  return metadata
}

export function certify(
  client: Client,
  metadata: Metadata,
  request: MessageInitShape<typeof IstioCertificateRequestSchema>,
): Promise<IstioCertificateResponse> {
  const d = CA.CreateCertificate
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      d.path,
      d.requestSerialize,
      d.responseDeserialize,
      create(IstioCertificateRequestSchema, request),
      metadata,
      (err, response) => {
        if (err) reject(err)
        else resolve(response!)
      },
    )
  })
}

/** What a device has after joining. */
export async function join(
  h: TestHub,
  token: string,
  keys = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
): Promise<{ keyPem: string; chainPem: string }> {
  const csr = makeCsr({ keys })
  const { certChain } = await certify(h.client(), bearer(token), { csr: csr.csrPem })
  return { keyPem: csr.keyPem, chainPem: certChain[0]! }
}

/** One ADS stream with its responses as a queue. */
export class Stream<Q, A> {
  readonly #call: ClientDuplexStream<Q, A>
  readonly #queue: (A | ServiceError)[] = []
  #wake: () => void = () => {}
  constructor(call: ClientDuplexStream<Q, A>) {
    this.#call = call
    const put = (item: A | ServiceError): void => {
      this.#queue.push(item)
      this.#wake()
    }
    call.on('data', put)
    call.on('error', put)
  }
  send(message: Q): void {
    this.#call.write(message)
  }
  async #take(): Promise<A | ServiceError> {
    while (!this.#queue.length)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    return this.#queue.shift()!
  }
  async next(): Promise<A> {
    const item = await this.#take()
    if (item instanceof Error) throw item
    return item
  }
  async error(): Promise<ServiceError> {
    for (;;) {
      const item = await this.#take()
      if (item instanceof Error) return item
    }
  }
  end(): void {
    this.#call.end()
  }
  cancel(): void {
    this.#call.cancel()
  }
}

export class DeltaStream extends Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
  constructor(client: Client, metadata = new Metadata()) {
    const d = ADS.DeltaAggregatedResources
    super(client.makeBidiStreamRequest(d.path, d.requestSerialize, d.responseDeserialize, metadata))
  }
  ask(message: MessageInitShape<typeof DeltaDiscoveryRequestSchema>): void {
    this.send(create(DeltaDiscoveryRequestSchema, message))
  }
}
export class SotwStream extends Stream<DiscoveryRequest, DiscoveryResponse> {
  constructor(client: Client, metadata = new Metadata()) {
    const d = ADS.StreamAggregatedResources
    super(client.makeBidiStreamRequest(d.path, d.requestSerialize, d.responseDeserialize, metadata))
  }
  ask(message: MessageInitShape<typeof DiscoveryRequestSchema>): void {
    this.send(create(DiscoveryRequestSchema, message))
  }
}

/** A hub without a revision answers no question for names; this one has a revision of one cluster. */
export async function testHubWithRevision(...p: Parameters<typeof testHub>): Promise<TestHub> {
  const h = await testHub(...p)
  const load = { cluster_name: 'first', endpoints: [] }
  const cluster = { '@type': CLUSTER, name: 'first', type: 'STATIC', connect_timeout: '1s', load_assignment: load }
  h.write('first.json', JSON.stringify({ resources: [cluster] }))
  while (!h.lines.some((l) => l['evt'] === 'hub.folder' && l['revision'] !== undefined)) await systemClock.sleep(20)
  return h
}
