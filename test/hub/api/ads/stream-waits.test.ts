/** A stream while the registry is asked who it is and whether the name is its own. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { silentLog } from '../../../../core/log.ts'
import { MeshError } from '../../../../core/errors.ts'
import { Metrics } from '../../../../core/metrics.ts'
import { AdsStream, type AdsCall, type AdsOptions } from '../../../../hub/api/ads/stream.ts'
import { StreamLimit } from '../../../../hub/api/ads/stream-limit.ts'
import type { Conversation } from '../../../../hub/api/ads/messages.ts'
import type { Caller } from '../../../../hub/api/authenticate.ts'
import { Budgets } from '../../../../hub/api/budgets.ts'
import { CertificateWatcher } from '../../../../hub/api/certificate-expiry.ts'
import { LiveDevices } from '../../../../hub/registry/live-devices.ts'
import { openRegistry } from '../../../../hub/registry/registry.ts'
import { makeResourceSet } from '../../../../hub/source/resources.ts'
import { parseSpiffeId } from '../../../../model/identity.ts'
import type { DeltaDiscoveryRequest } from '../../../../proto/services.ts'
import { SimClock } from '../../../helpers/sim-clock.ts'

const URI = 'spiffe://demo.mesh/ns/edge/sa/gateway'
const CALLER: Caller = {
  by: 'token',
  jti: 'j1',
  namespace: 'edge',
  serviceAccount: 'gateway',
  spiffeId: parseSpiffeId(URI)!,
  endsMs: Infinity,
}
const request = (typeUrl: string): DeltaDiscoveryRequest =>
  ({ typeUrl, node: { id: 'gw-1' }, responseNonce: '' }) as unknown as DeltaDiscoveryRequest

class Call extends PassThrough {
  constructor() {
    super({ objectMode: true })
  }
  override write(): boolean {
    return true
  }
}

async function made() {
  const [registry, clock, metrics] = [openRegistry(':memory:'), new SimClock(), new Metrics()]
  const base = { jti: 'j1', namespace: 'edge', serviceAccount: 'gateway', createdMs: 0, expiresMs: 1e15, maxUses: null }
  await registry.addToken({ ...base, nodes: 'gw-1' })
  const shared = { registry, clock, metrics, log: silentLog }
  const places = { maxStreams: 9, maxStreamsPerIdentity: 9, maxStreamsPerDevice: 9 }
  const budget = { maxCertificatesPerHour: 9, maxJoinsPerHour: 9, maxSubscribedBytes: 9_999, maxReportsPerMinute: 60 }
  const [watching, proved] = [{ now: 0 }, [] as string[]]
  const answered = Promise.withResolvers<Caller>()
  const options: AdsOptions = {
    ...shared,
    authenticate: () => answered.promise,
    source: {
      watch: () => {
        watching.now++
        return { current: () => makeResourceSet([]), ready: undefined, [Symbol.dispose]: () => watching.now-- }
      },
    },
    limit: new StreamLimit(places, metrics),
    budgets: new Budgets({ limits: budget, clock, metrics }),
    live: await LiveDevices.open(shared),
    watcher: new CertificateWatcher(shared),
    proved: (peer) => proved.push(peer),
  }
  const asked: string[] = []
  const conversation = {
    request: (message: DeltaDiscoveryRequest) => {
      asked.push(message.typeUrl)
      return { responses: [], outcome: 'none' as const }
    },
    push: () => [],
    subscribedBytes: 0,
    computeContent: () => '',
  } satisfies Conversation<DeltaDiscoveryRequest, never>
  const [call, failed] = [new Call(), [] as string[]]
  const say = (message: DeltaDiscoveryRequest): void => void call.push(message)
  const fail = (reason: MeshError): void => void failed.push(reason.code)
  const peer = { credentials: { certificate: undefined, authorization: [] }, ip: '', address: 'p', fail }
  const stream = new AdsStream(call as unknown as AdsCall, conversation, peer, options)
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 20; i++)
      await new Promise((done) => {
        setImmediate(done)
      })
  }
  /** Nobody else is answered by the registry until `free`. */
  const hold = () => {
    const { promise, resolve: free } = Promise.withResolvers<void>()
    return { free, held: registry.exclusively(() => promise) }
  }
  const open = (): number => metrics.total('mesh_hub_ads_streams')
  return { registry, clock, call, stream, say, asked, failed, answered, watching, proved, settle, open, hold }
}

test('requests that come while somebody is asked are worked off afterwards, in their order, and no more is taken in than fits', async () => {
  const m = await made()
  for (let i = 0; i < 12; i++) m.say(request(`type-${i}`))
  await m.settle()
  assert.deepEqual([m.asked, m.call.readableFlowing], [[], null])
  const { free, held } = m.hold()
  m.answered.resolve(CALLER)
  await m.settle()
  assert.deepEqual([m.asked, m.call.isPaused()], [[], true], 'the name is not its own yet')
  free()
  await held
  await m.settle()
  assert.deepEqual(
    m.asked,
    Array.from({ length: 12 }, (_, i) => `type-${i}`),
  )
})

test('a stream that ends while it is asked who it is leaves nothing behind', async () => {
  const m = await made()
  m.say(request('a'))
  m.call.destroy()
  await m.settle()
  m.answered.resolve(CALLER)
  await m.settle()
  assert.deepEqual([m.asked, m.failed, m.proved, m.open(), m.watching.now], [[], [], [], 0, 0])
})

test('a stream that ends while its name is asked for leaves nothing behind', async () => {
  const m = await made()
  m.answered.resolve(CALLER)
  await m.settle()
  assert.equal(m.open(), 1)
  const { free, held } = m.hold()
  m.say(request('a'))
  await m.settle()
  m.call.destroy()
  await m.settle()
  free()
  await held
  await m.settle()
  assert.deepEqual([m.asked, m.open(), m.watching.now], [[], 0, 0])
})

test('a token that is revoked while it is looked at ends the stream, although the hub has seen the change already', async () => {
  const m = await made()
  await m.registry.revokeToken('j1', 5)
  await m.clock.advance(500)
  m.answered.resolve(CALLER)
  await m.settle()
  await m.clock.advance(500)
  await m.settle()
  assert.deepEqual([m.failed, m.open()], [['MESH_TOKEN_INVALID'], 0])
})

test('who is not answered in time is told so, and leaves nothing behind', async () => {
  const m = await made()
  await m.clock.advance(30_000)
  assert.deepEqual([m.failed, m.open()], [['MESH_CONTROL_PROTOCOL'], 0])
  m.answered.reject(new MeshError('MESH_STORAGE_FAILED', 'late'))
  await m.settle()
  assert.equal(m.failed.length, 1)
})
