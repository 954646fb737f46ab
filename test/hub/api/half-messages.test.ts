/**
 * A device that begins messages and does not end them: what the hub holds of them is bounded for all of its calls
 * together, and others notice nothing.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import http2 from 'node:http2'
import { CLUSTER } from '../../../hub/source/resources.ts'
import { bearer, certify, DeltaStream, join, testHubWithRevision, type TestHub } from '../start-hub.ts'
import { makeCsr } from '../ca/make-csr.ts'

const MIB = 1024 * 1024
const ADS = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources'
const CREATE = '/istio.v1.auth.IstioCertificateService/CreateCertificate'
/** A message of 4 MiB less one byte begins. */
const HEAD = Buffer.from([0, 0, 0x3f, 0xff, 0xff])

type Shown = { readonly keyPem: string; readonly chainPem: string }
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve)
  })
async function until(is: () => boolean, what: () => string = () => String(is)): Promise<void> {
  const by = performance.now() + 20_000
  while (!is()) {
    assert.ok(performance.now() < by, `did not happen: ${what()}`)
    await turn()
  }
}

function call(
  session: http2.ClientHttp2Session,
  path: string,
  headers: http2.OutgoingHttpHeaders = {},
): http2.ClientHttp2Stream {
  const made = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })
  made.on('error', () => {})
  made.resume()
  return made
}
/** Connections that have proved themselves by a stream that is open; a token may prove them, too. */
async function connections(
  h: TestHub,
  count: number,
  by: Shown | { readonly token: string },
): Promise<http2.ClientHttp2Session[]> {
  const [shown, headers] =
    'token' in by ? [{}, { authorization: `Bearer ${by.token}` }] : [{ cert: by.chainPem, key: by.keyPem }, {}]
  const made = Array.from({ length: count }, () =>
    http2.connect(`https://127.0.0.1:${h.hub.port}`, { rejectUnauthorized: false, ...shown }).on('error', () => {}),
  )
  for (const session of made) call(session, ADS, headers)
  await until(() => h.metrics.total('mesh_hub_ads_streams') >= count && h.metrics.total('mesh_hub_strangers') === 0)
  return made
}

for (const by of ['its certificate', 'a join token'] as const) {
  test(
    `halves of large messages on all the calls that one may have, by ${by}: bounded, and all of it is given back`,
    { timeout: 60_000 },
    async (t) => {
      const h = await testHubWithRevision(t)
      const { token } = await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-*' })
      const other = await join(h, token)
      const sessions = await connections(h, 8, by === 'a join token' ? { token } : await join(h, token))
      const before = process.memoryUsage().arrayBuffers
      const half = Buffer.alloc(3 * MIB)
      let open = 0
      let most = 0
      for (const session of sessions) {
        for (let i = 0; i < 20; i++) {
          const one = call(session, CREATE)
          open++
          one.on('close', () => {
            open--
          })
          one.write(HEAD)
          one.write(half)
        }
      }
      const held = (): number => h.metrics.total('mesh_hub_half_message_bytes')
      const exceeded = (): number => h.metrics.total('mesh_hub_budget_exceeded_total', { budget: 'half-messages' })
      await until(
        () => {
          most = Math.max(most, held())
          return exceeded() >= 100
        },
        () => `${exceeded()} calls ended, ${held()} bytes held, ${open} open`,
      )
      assert.ok(most <= 17 * MIB, `${most} bytes are counted`)
      assert.ok(
        process.memoryUsage().arrayBuffers - before < 100 * MIB,
        `${process.memoryUsage().arrayBuffers - before} bytes of 480 MiB, the client's own among them`,
      )
      const stream = new DeltaStream(h.client(other))
      stream.ask({
        node: { id: 'gw-1' },
        typeUrl: CLUSTER,
        initialResourceVersions: Object.fromEntries(
          Array.from({ length: 20_000 }, (_, i) => [`cluster-with-a-long-name-${i}`, 'x'.repeat(16)]),
        ),
      })
      assert.equal((await stream.next()).removedResources.length, 20_000, 'another device')
      for (const session of sessions) session.destroy()
      await until(() => open === 0 && held() === 0)
    },
  )
}

test(
  'a message in pieces of one byte counts for what it takes, and one that comes whole for nothing',
  { timeout: 60_000 },
  async (t) => {
    const h = await testHubWithRevision(t)
    const device = await join(
      h,
      (await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-*' })).token,
    )
    const [session] = (await connections(h, 1, device)) as [http2.ClientHttp2Session]
    const held = (): number => h.metrics.total('mesh_hub_half_message_bytes')
    const one = call(session, CREATE)
    one.write(HEAD)
    for (let i = 1; i <= 20; i++) {
      one.write(Buffer.alloc(1))
      await until(() => held() >= i * 257)
    }
    one.close()
    await until(() => held() === 0)
    for (let i = 0; i < 20; i++) await certify(h.client(device), bearer(), { csr: makeCsr({}).csrPem })
    assert.equal(held(), 0)
    session.destroy()
  },
)

test(
  'the call that is too much is told so; two messages of the largest size may be under way, whatever the budget',
  { timeout: 60_000 },
  async (t) => {
    const h = await testHubWithRevision(t, 'limits: {maxRequestBytes: 100000, maxHalfMessageBytes: 65536}\n')
    const [session] = (await connections(
      h,
      1,
      await join(h, (await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-*' })).token),
    )) as [http2.ClientHttp2Session]
    const told: unknown[] = []
    for (let i = 0; i < 5; i++) {
      const one = call(session, CREATE)
      one.on('response', (head) => {
        told.push(head['grpc-status'], head['grpc-message'])
      })
      one.write(Buffer.from([0, 0, 1, 0x80, 0]))
      one.write(Buffer.alloc(90_000))
    }
    await until(() => told.length >= 6)
    assert.deepEqual(
      [told[0], h.metrics.total('mesh_hub_budget_exceeded_total', { budget: 'half-messages' })],
      ['8', 3],
    )
    // What was gathered for those that were ended is given back though their clients keep them open.
    await until(() => h.metrics.total('mesh_hub_half_message_bytes') < 3 * 90_000)
    assert.match(decodeURI(String(told[1])), /^MESH_CONTROL_SLOW_DOWN: .*200000 bytes \(limits\.maxHalfMessageBytes\)$/)
    session.destroy()
  },
)

test('what came before a connection proved whose it is counts from then on', { timeout: 60_000 }, async (t) => {
  const h = await testHubWithRevision(t)
  const { keyPem, chainPem } = await join(
    h,
    (await h.hub.createToken({ namespace: 'edge', serviceAccount: 'gateway', nodes: 'gw-*' })).token,
  )
  const session = http2
    .connect(`https://127.0.0.1:${h.hub.port}`, { rejectUnauthorized: false, cert: chainPem, key: keyPem })
    .on('error', () => {})
  const one = call(session, CREATE)
  one.write(HEAD)
  one.write(Buffer.alloc(60_000))
  call(session, ADS)
  const held = (): number => h.metrics.total('mesh_hub_half_message_bytes')
  await until(
    () => held() >= 60_000,
    () => `${held()} bytes`,
  )
  session.destroy()
  await until(() => held() === 0)
})
