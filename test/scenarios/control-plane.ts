/**
 * A control plane that sends whatever a test says, also what our hub would hold back, and remembers what was refused.
 */
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { create } from '@bufbuild/protobuf'
import fs from 'node:fs'
import path from 'node:path'
import { TYPE_URLS } from '../../model/snapshot.ts'
import { DeltaDiscoveryResponseSchema } from '../../proto/gen/envoy/service/discovery/v3/discovery_pb.ts'
import { ADS, type DeltaDiscoveryRequest, type DeltaDiscoveryResponse } from '../../proto/services.ts'
import type { Sample } from '../helpers/control-plane/resources.ts'
import { testCa } from '../helpers/test-ca.ts'
import { type Finally } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

type Stream = ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>

export class ControlPlane {
  /** `control` and `identity` of agent.yaml. */
  readonly yaml: string
  readonly port: number
  /** root-cert.pem, and a certificate for spiffe://cluster.local/ns/edge/sa/gateway. */
  readonly folder: string
  /** Messages of the nacks, in order. */
  readonly refusals: string[] = []
  /** HealthInformation in order: `healthy`, or what is wrong. */
  readonly health: string[] = []
  /** Metadata of the node of each stream. */
  readonly nodes: Record<string, unknown>[] = []
  #streams = new Map<Stream, Set<string>>()
  #known = new Map<string, Sample>()
  #nonce = 0

  private constructor(port: number, folder: string) {
    this.port = port
    this.folder = folder
    this.yaml = `control: {address: "127.0.0.1:${port}", serverName: istiod.istio-system.svc, roots: ${folder}/root-cert.pem}\nidentity: {folder: ${folder}}\n`
  }

  static async start(t: Finally): Promise<ControlPlane> {
    const folder = temporaryFolder(t)
    const ca = testCa()
    const own = ca.issue('istio-system', 'istiod', { dnsNames: ['istiod.istio-system.svc'] })
    const agent = ca.issue('edge', 'gateway')
    for (const [name, text] of [
      ['cert-chain.pem', agent.chainPem],
      ['key.pem', agent.keyPem],
      ['root-cert.pem', ca.rootsPem],
    ] as const)
      fs.writeFileSync(path.join(folder, name), text)
    const server = new Server()
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(
        '127.0.0.1:0',
        ServerCredentials.createSsl(null, [
          { private_key: Buffer.from(own.keyPem), cert_chain: Buffer.from(own.chainPem) },
        ]),
        (err, bound) => {
          if (err) reject(err)
          else resolve(bound)
        },
      )
    })
    const plane = new ControlPlane(port, folder)
    server.addService(ADS, {
      DeltaAggregatedResources: (call: Stream) => plane.#serve(call),
      StreamAggregatedResources: (call: Stream) => {
        call.end()
      },
    })
    t.after(() => {
      server.forceShutdown()
    })
    return plane
  }

  /** Known from now on to every stream that is or will be open. */
  push(...samples: readonly Sample[]): void {
    for (const s of samples) this.#known.set(`${s.kind} ${s.name}`, s)
    for (const kind of new Set(samples.map((s) => s.kind))) {
      for (const [call, asked] of this.#streams)
        if (asked.has(TYPE_URLS[kind]))
          this.#send(
            call,
            TYPE_URLS[kind],
            samples.filter((s) => s.kind === kind),
          )
    }
  }

  #serve(call: Stream): void {
    this.#streams.set(call, new Set())
    call.on('data', (request: DeltaDiscoveryRequest) => {
      const asked = this.#streams.get(call)
      if (request.node?.metadata) this.nodes.push(request.node.metadata)
      if (request.typeUrl.endsWith('/istio.v1.HealthInformation')) {
        this.health.push(request.errorDetail?.message ?? 'healthy')
        return
      }
      if (request.errorDetail) this.refusals.push(request.errorDetail.message)
      const isFirst = asked !== undefined && !asked.has(request.typeUrl)
      asked?.add(request.typeUrl)
      // Named resources are asked for later, too.
      const names = new Set(request.resourceNamesSubscribe)
      if (isFirst || names.size > 0)
        this.#send(
          call,
          request.typeUrl,
          [...this.#known.values()].filter(
            (s) => TYPE_URLS[s.kind] === request.typeUrl && (names.size === 0 || names.has('*') || names.has(s.name)),
          ),
        )
    })
    call.on('end', () => {
      call.end()
    })
    call.on('error', () => {
      this.#streams.delete(call)
    })
    call.on('close', () => {
      this.#streams.delete(call)
    })
  }
  #send(call: Stream, typeUrl: string, samples: readonly Sample[]): void {
    const nonce = String(++this.#nonce)
    call.write(
      create(DeltaDiscoveryResponseSchema, {
        typeUrl,
        nonce,
        systemVersionInfo: nonce,
        resources: samples.map((s) => ({ name: s.name, version: nonce, resource: { typeUrl, value: s.bytes } })),
      }),
    )
  }
}
