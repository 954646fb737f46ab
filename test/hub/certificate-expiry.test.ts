import { test } from 'node:test'
import assert from 'node:assert/strict'
import path from 'node:path'
import Database from 'better-sqlite3'
import { status, type ServiceError } from '@grpc/grpc-js'
import { systemClock, type Clock } from '../../core/os/clock.ts'
import { openRegistry, type Registry } from '../../hub/registry/registry.ts'
import { CLUSTER } from '../../hub/source/resources.ts'
import { bearer, DeltaStream, join, SotwStream, testHubWithRevision, type TestHub } from './start-hub.ts'

const gateway = { namespace: 'edge', serviceAccount: 'gateway' }
const refused = (err: ServiceError, code: status, words: RegExp): void => {
  assert.equal(status[err.code], status[code], err.details)
  assert.match(err.details, words)
}
/** As `meshlet-hub token revoke` does: another connection to the same file. */
const elsewhere = async (h: TestHub, work: (registry: Registry) => Promise<unknown>): Promise<void> => {
  await using other = openRegistry(path.join(h.folder, 'state/registry.db'))
  await work(other)
}
const opened = async (stream: DeltaStream | SotwStream, id: string): Promise<void> => {
  stream.ask({ node: { id }, typeUrl: CLUSTER })
  await stream.next()
}

test(
  'streams of a token that is revoked end: those by the token, and those by a certificate given for it; others go on',
  { timeout: 20_000 },
  async (t) => {
    const h = await testHubWithRevision(t)
    const [bad, good] = [
      await h.hub.createToken({ ...gateway, nodes: 'gw-*' }),
      await h.hub.createToken({ ...gateway, nodes: 'ok-*' }),
    ]
    const certificate = await join(h, bad.token)
    const [byToken, byCertificate, sotw, other] = [
      new DeltaStream(h.client(), bearer(bad.token)),
      new DeltaStream(h.client(certificate)),
      new SotwStream(h.client(certificate)),
      new DeltaStream(h.client(await join(h, good.token))),
    ]
    const silent = new DeltaStream(h.client(certificate))
    await opened(byToken, 'gw-1')
    for (const stream of [byCertificate, sotw]) await opened(stream, 'gw-2')
    await opened(other, 'ok-1')
    await elsewhere(h, (registry) => registry.revokeToken(bad.jti, Date.now()))
    refused(await byToken.error(), status.UNAUTHENTICATED, /MESH_TOKEN_INVALID.*revoked/)
    for (const stream of [byCertificate, sotw, silent])
      refused(await stream.error(), status.UNAUTHENTICATED, /MESH_CONTROL_UNAUTHENTICATED.*revoked/)
    other.ask({ typeUrl: CLUSTER, resourceNamesSubscribe: ['none'] })
    assert.deepEqual((await other.next()).removedResources, ['none'])
    assert.equal(h.metrics.total('mesh_hub_ads_streams'), 1)
  },
)

test("a token that is revoked by the hub's own process ends streams, too", { timeout: 20_000 }, async (t) => {
  const h = await testHubWithRevision(t)
  const { token, jti } = await h.hub.createToken({ ...gateway, nodes: 'gw-1' })
  const stream = new DeltaStream(h.client(await join(h, token)))
  await opened(stream, 'gw-1')
  await h.hub.registry.revokeToken(jti, Date.now())
  refused(await stream.error(), status.UNAUTHENTICATED, /revoked/)
})

test('a stream ends with the certificate or the token that it was opened with', { timeout: 20_000 }, async (t) => {
  let aheadMs = 0
  const clock: Clock = { ...systemClock, wallMs: () => Date.now() + aheadMs }
  const h = await testHubWithRevision(t, 'certificateTtlSec: 600\n', { clock })
  const { token } = await h.hub.createToken({ ...gateway, nodes: 'gw-*', ttlSec: 300 })
  const [byToken, byCertificate] = [
    new DeltaStream(h.client(), bearer(token)),
    new DeltaStream(h.client(await join(h, token))),
  ]
  await opened(byToken, 'gw-1')
  await opened(byCertificate, 'gw-2')
  aheadMs = 301_000
  refused(await byToken.error(), status.UNAUTHENTICATED, /join token ended/)
  byCertificate.ask({ typeUrl: CLUSTER, resourceNamesSubscribe: ['none'] })
  await byCertificate.next()
  aheadMs = 601_000
  refused(await byCertificate.error(), status.UNAUTHENTICATED, /client certificate ended/)
})

test(
  "a name that was freed and is another's now leaves the stream of the one before; until then it keeps it",
  { timeout: 20_000 },
  async (t) => {
    const h = await testHubWithRevision(t)
    const { token } = await h.hub.createToken({ ...gateway, nodes: 'gw-*' })
    const [before, next] = [
      new DeltaStream(h.client(await join(h, token))),
      new DeltaStream(h.client(await join(h, token))),
    ]
    await opened(before, 'gw-1')
    await elsewhere(h, (registry) => registry.forgetDevice('gw-1'))
    await opened(next, 'gw-1')
    refused(await before.error(), status.PERMISSION_DENIED, /gw-1 belongs to another device/)
    next.ask({ typeUrl: CLUSTER, resourceNamesSubscribe: ['none'] })
    await next.next()
  },
)

test(
  'while somebody else holds the registry, streams go on, and who comes is told to come again, at once',
  { timeout: 30_000 },
  async (t) => {
    const h = await testHubWithRevision(t)
    const { token } = await h.hub.createToken({ ...gateway, nodes: 'gw-*' })
    const device = await join(h, token)
    const stream = new DeltaStream(h.client(device))
    await opened(stream, 'gw-1')
    const holder = new Database(path.join(h.folder, 'state/registry.db'))
    holder.exec('BEGIN IMMEDIATE')
    const startedMs = performance.now()
    const others = Array.from({ length: 5 }, () => new DeltaStream(h.client(), bearer(token)))
    for (const one of others) one.ask({ node: { id: 'gw-2' }, typeUrl: CLUSTER })
    for (const one of others) refused(await one.error(), status.UNAVAILABLE, /MESH_STORAGE_FAILED/)
    assert.ok(performance.now() - startedMs < 5_000, 'one wait of before')
    stream.ask({ typeUrl: CLUSTER, resourceNamesSubscribe: ['none'] })
    await stream.next()
    await opened(new DeltaStream(h.client(device)), 'gw-1') // what it has already it gets
    holder.exec('ROLLBACK')
    holder.close()
    const again = new DeltaStream(h.client(), bearer(token))
    await opened(again, 'gw-2')
  },
)
