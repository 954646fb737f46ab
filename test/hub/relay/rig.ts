/** Agents' sides of the configuration over the relay of a real hub: over real sockets, with the bytes counted. */
import { generateKeyPairSync } from 'node:crypto'
import type { TestContext } from 'node:test'
import { Current } from '../../../core/current.ts'
import { silentLog } from '../../../core/log.ts'
import { systemClock, systemRandom } from '../../../core/os/clock.ts'
import { describeNode } from '../../../control-sync/ads/node.ts'
import type { ControlPlane } from '../../../control-sync/connection/control-plane.ts'
import {
  refuseStream,
  RelayLink,
  type Connection,
  type RelayDevice,
  type RelayLinkOptions,
} from '../../../control-sync/fleet/relay-link.ts'
import { RelayTransport } from '../../../control-sync/fleet/relay-transport.ts'
import type { DeviceKey } from '../../../control-sync/fleet/device/device-key.ts'
import { askHub } from '../../../control-sync/fleet/hub-client.ts'
import { hashThumbprint, signEs256, toEs256Jwk } from '../../../core/jwt/sign.ts'
import type { ChainPosition } from '../../../model/fleet/connection-proof.ts'
import { JOIN_PATH, type Renewed } from '../../../model/fleet/enrollment.ts'
import { makeCsr } from '../ca/make-csr.ts'
import { Reporter } from '../../../control-sync/fleet/reporter.ts'
import { RevisionInForce } from '../../../control-sync/revision-in-force.ts'
import type { Report } from '../../../model/fleet/report.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'
import { parseIdentity } from '../../../control-sync/identity/parse-identity.ts'
import type { Identity } from '../../../model/identity.ts'
import { SyncedAgent } from '../../helpers/control-plane/synced-agent.ts'
import { join, testHub, type TestHub } from '../start-hub.ts'
import { PLAIN_NODE } from '../../helpers/control-plane/node-settings.ts'

const NAMES = 'dnsNames: [127.0.0.1, hub.demo.mesh]\n'
const RELAY = 'relay: {listen: "127.0.0.1:0"}\n'
const type = (name: string): string => `type.googleapis.com/envoy.config.${name}`

/** Resources of so many services in one file. @param edit last number of a service's address */
export function services(count: number, edit: (i: number) => number = () => 1): string {
  const resources = Array.from({ length: count }, (_, i) => {
    const host = `svc-${i}.shop.svc.cluster.local`
    const name = `outbound|80||${host}`
    return [
      {
        '@type': type('cluster.v3.Cluster'),
        name,
        type: 'EDS',
        connect_timeout: '10s',
        eds_cluster_config: { eds_config: { ads: {}, resource_api_version: 'V3' }, service_name: name },
      },
      {
        '@type': type('endpoint.v3.ClusterLoadAssignment'),
        cluster_name: name,
        endpoints: [
          {
            lb_endpoints: [
              { endpoint: { address: { socket_address: { address: `10.1.${i}.${edit(i)}`, port_value: 80 } } } },
            ],
          },
        ],
      },
    ]
  })
  const virtualHosts = Array.from({ length: count }, (_, i) => ({
    name: `svc-${i}`,
    domains: [`svc-${i}.shop.svc.cluster.local`],
    routes: [{ match: { prefix: '/' }, route: { cluster: `outbound|80||svc-${i}.shop.svc.cluster.local` } }],
  }))
  const route = { '@type': type('route.v3.RouteConfiguration'), name: 'http_proxy', virtual_hosts: virtualHosts }
  return JSON.stringify({ resources: [...resources.flat(), route] })
}

export type Fleet = {
  readonly h: TestHub
  readonly identity: Identity
  readonly control: ControlPlane
  /** Bytes so far, of every purpose. */
  readonly bytes: { sent: number; received: number }
  link(over?: Partial<ControlPlane>, onStream?: RelayLinkOptions['onStream'], device?: RelayDevice): RelayLink
  /** @param before an agent whose snapshot it starts with */
  agent(before?: SyncedAgent, onStream?: RelayLinkOptions['onStream'], over?: RelayLink): SyncedAgent
  /** An agent that reports. @param over what it says of itself */
  reportingAgent(over: () => Partial<Report>): SyncedAgent
}

/** One hub with a relay, and a device that has joined as gw-1. */
export async function fleet(t: TestContext, mesh: string, settings = ''): Promise<Fleet> {
  const h = await testHub(t, RELAY + NAMES + settings)
  h.write('mesh.json', mesh)
  await h.taken()
  const { token } = await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-1' })
  const shown = await join(h, token)
  const identity = parseIdentity({ ...shown, rootsPem: h.hub.rootsPem })
  const bytes = { sent: 0, received: 0 }
  const control: ControlPlane = {
    addresses: [`wss://127.0.0.1:${h.hub.relayPort}`],
    serverName: 'hub.demo.mesh',
    clusterId: 'Kubernetes',
    roots: () => Buffer.from(h.hub.rootsPem),
    token: () => undefined,
    bytes: (_purpose, direction, length) => {
      bytes[direction] += length
    },
  }
  const open: SyncedAgent[] = []
  t.after(async () => {
    for (const agent of open) await agent[Symbol.asyncDispose]()
  })
  const link: Fleet['link'] = (over = {}, onStream = refuseStream, device?: RelayDevice) =>
    new RelayLink({
      control: { ...control, ...over },
      identity: () => identity,
      clock: systemClock,
      onStream,
      device,
    })
  const make = (
    p: Pick<AgentOptions, 'before' | 'over'>,
    onStream?: RelayLinkOptions['onStream'],
    own = link({}, onStream),
  ): SyncedAgent => {
    const agent = createAgent({ link: own, control, ...p })
    open.push(agent)
    return agent
  }
  return {
    h,
    identity,
    control,
    bytes,
    link,
    agent: (before, onStream, own) => make({ before }, onStream, own),
    reportingAgent: (over) => make({ over }),
  }
}

type AgentOptions = {
  readonly link: RelayLink
  readonly control: ControlPlane
  readonly before?: SyncedAgent | undefined
  /** It reports. */
  readonly over?: (() => Partial<Report>) | undefined
}
function createAgent({ link, control, before, over }: AgentOptions): SyncedAgent {
  const collect = (): Report => ({ ...REPORT, ...revision.read(), ...over?.() })
  const reporter = new Reporter({ ...REAL, intervalMs: 50, bytes: control.bytes, collect })
  const transport = new RelayTransport({
    link,
    control,
    node: describeNode(PLAIN_NODE),
    stored: (kind, name) => agent.applier.snapshot.resources[kind].get(name),
    onCertificateRefused: () => undefined,
    ...(over && { attach: (connection: Connection) => reporter.attach(connection) }),
  })
  const noted: Pick<RevisionInForce, 'note'> = {
    note: (response) => {
      revision.note(response)
      reporter.changed()
    },
  }
  const agent = new SyncedAgent(transport, {
    revision: noted,
    trustBundle: false,
    names: false,
    ownRoutes: new Current<ReadonlySet<string>>(new Set(['http_proxy'])),
    ...(before && { before }),
  })
  const revision = new RevisionInForce(agent.applier)
  return agent
}
const REAL = { clock: systemClock, random: systemRandom, log: silentLog }

/** A device of the hub with a key of its own, as it stands after joining. */
export async function keyed(
  { hub }: TestHub,
  name = 'gw-1',
): Promise<RelayDevice & { readonly key: DeviceKey; readonly renewed: Renewed; stands: ChainPosition }> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const jwk = toEs256Jwk(privateKey)!
  const key = { jwk, keyId: hashThumbprint(jwk), sign: (signed: Buffer) => signEs256(signed, privateKey) }
  const { token } = await hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: name })
  const at = {
    url: new URL(`https://127.0.0.1:${hub.relayPort}`),
    trust: { rootsPem: hub.rootsPem },
    certificateClock: { nowMs: () => Date.now(), clockIsWrong: false, seen: () => undefined },
    findProxy: undefined,
    clock: systemClock,
    key,
  }
  const claims = { token, name, csr: makeCsr().csrPem, ttlSec: 0, nonce: 'n'.repeat(22) }
  const renewed = (await askHub(at, JOIN_PATH, claims)).body['renewed'] as Renewed
  const device = {
    key,
    renewed,
    stands: { counter: renewed.counter, chain: renewed.chain, nonce: undefined } as ChainPosition,
    findKey: async () => key,
    position: () => device.stands,
  }
  return device
}

/** Everything of `services` is there. */
export async function whole(agent: SyncedAgent, count: number): Promise<void> {
  await until(
    () => agent.names('route').length === 1 && agent.names('endpoint').length === count,
    'everything is there',
  )
}

/** The agent ends, and the hub has heard its last word. */
export async function leave({ h: { metrics } }: Fleet, agent: SyncedAgent): Promise<void> {
  await agent[Symbol.asyncDispose]()
  await until(() => metrics.text().includes('mesh_hub_ads_streams 0'), 'the stream is over')
}

/** Answers of devices to the hub, by what they say. */
export function answers({ metrics }: TestHub, outcome: 'ack' | 'nack' | 'none'): number {
  return metrics.counter('mesh_hub_ads_requests_total', '', ['outcome']).cell({ outcome }).value
}

export async function until(what: () => boolean, label: string): Promise<void> {
  const late = Date.now() + 15_000
  while (!what()) {
    if (Date.now() > late) throw new Error(`not within 15 s: ${label}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
