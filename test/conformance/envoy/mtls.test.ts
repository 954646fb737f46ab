/**
 * A real Envoy and the shipped bundle over mTLS of one mesh, both ways: who gets through, by what name, and who does
 * not.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { ask, direct, echo, IDS, startMesh, type Answer, type Mesh } from './mesh.ts'
import { until } from '../programs.ts'

const BODY = 'x'.repeat(300_000)
const forged = { 'x-forwarded-client-cert': `By=${IDS.meshlet};URI=spiffe://demo.mesh/ns/admin/sa/admin` }

test('Envoy and meshlet over mTLS of one mesh', { timeout: 180_000 }, async (t) => {
  const mesh = await startMesh(t)
  const { p } = mesh
  await until(
    'the routes are in force',
    async () => (await ask(p.fromMeshlet, 'h1.test')).status === 200,
    20_000,
    () => logsOf(mesh),
  )
  await callsBothWays(t, mesh)
  await protocolsAndCertificates(t, mesh)
  await thoseWhoMustNotGetThrough(t, mesh)
  await countsAndLog(t, mesh)
  await t.test('afterwards both ways still work, and Envoy had nothing to complain of', async () => {
    told(mesh, await ask(p.fromEnvoy, 'h2.test'))
    told(mesh, await ask(p.fromMeshlet, 'h2.test'))
    assert.deepEqual([mesh.agent.process.running, mesh.envoy.running], [true, true])
    assert.doesNotMatch(mesh.envoy.log, /critical|assert failure/)
  })
})

async function callsBothWays(t: TestContext, mesh: Mesh): Promise<void> {
  const { p } = mesh
  for (const { from, port, to, ways } of [
    { from: 'envoy', port: p.fromEnvoy, to: 'meshlet', ways: ['h1', 'h2', 'only'] },
    { from: 'meshlet', port: p.fromMeshlet, to: 'envoy', ways: ['h1', 'h2'] },
  ] as const) {
    for (const way of ways) {
      await t.test(
        `${from} calls ${to} (${way}): the application is told the SPIFFE id of the caller, whatever the application in front has claimed`,
        async () => {
          const { xfcc, bytes } = told(mesh, await ask(port, `${way}.test`, { body: BODY, headers: forged }))
          assert.equal(bytes, BODY.length)
          assert.deepEqual(
            fieldsOf(xfcc).filter(([name]) => name === 'By' || name === 'URI'),
            [
              ['By', IDS[to]],
              ['URI', IDS[from]],
            ],
          )
        },
      )
    }
  }
  for (const { from, port, to } of [
    { from: 'envoy', port: p.fromEnvoy, to: 'meshlet' },
    { from: 'meshlet', port: p.fromMeshletPlain, to: 'envoy' },
  ] as const) {
    await t.test(
      `gRPC from ${from} to ${to}: messages both ways on one stream, status with its details from the trailers`,
      async () => {
        const messages = ['one', BODY, 'three']
        const { echoes, code, details } = await echo(port, 'grpc.h2.test', messages)
        assert.deepEqual(echoes, messages, logsOf(mesh))
        assert.equal(code, 10)
        assert.match(details, new RegExp(`^told By=${IDS[to]};.*URI=${IDS[from]}$`))
      },
    )
  }
}

async function protocolsAndCertificates(t: TestContext, mesh: Mesh): Promise<void> {
  const { p } = mesh
  await t.test(
    'Envoy agrees about the protocols: what was to be HTTP/2 was, and the handshakes that it counts came about',
    async () => {
      const stats = await (
        await fetch(`http://127.0.0.1:${p.envoyAdmin}/stats?usedonly`, { headers: { connection: 'close' } })
      ).text()
      for (const counter of [
        'cluster.h1.upstream_cx_http1_total',
        'cluster.h2.upstream_cx_http2_total',
        'cluster.h2.ssl.handshake',
        'http.x.downstream_cx_http2_total',
        'http.x.downstream_cx_http1_total',
      ]) {
        assert.match(stats, new RegExp(`^${counter.replaceAll('.', '\\.')}: [1-9]`, 'm'))
      }
      assert.doesNotMatch(stats, /^cluster\.h2\.upstream_cx_http1_total/m)
    },
  )

  await t.test(
    'both write the same x-forwarded-client-cert about the same client, but for their own name',
    async () => {
      const [ours, theirs] = [
        told(mesh, await direct(mesh, p.meshletOpen, 'envoy')).xfcc,
        told(mesh, await direct(mesh, p.envoyOpen, 'envoy')).xfcc,
      ]
      assert.equal(ours.replace(`By=${IDS.meshlet};`, ''), theirs.replace(`By=${IDS.envoy};`, ''))
      assert.match(ours, /Hash=[0-9a-f]{64};Subject=/)
    },
  )
}

async function thoseWhoMustNotGetThrough(t: TestContext, mesh: Mesh): Promise<void> {
  const { p } = mesh
  const refused = (what: Promise<Answer>): Promise<Answer> => refusedBy(mesh, what)
  await t.test('Envoy does not talk to a meshlet that is not who the cluster names', async () => {
    assert.equal((await refused(ask(p.fromEnvoy, 'mistaken.test'))).status, 503)
  })
  for (const [way, what] of [
    ['mistaken', 'that is not who the cluster names'],
    ['foreign', 'whose certificate is of another CA'],
    ['refused', "that refuses meshlet's name"],
    ['refused-h2', "that refuses meshlet's name, over HTTP/2"],
  ] as const) {
    await t.test(`meshlet does not get through to an Envoy ${what}, and says why`, async () => {
      const { status, error, body } = await refused(ask(p.fromMeshlet, `${way}.test`, { body: 'x' }))
      if (way.startsWith('refused'))
        // The alert is lost when we write after Envoy has closed, and before we have read.
        assert.match(
          body,
          /the server does not accept our certificate: .*alert certificate unknown|closed right after the handshake \(\w+\): it may not/,
        )
      assert.deepEqual([status, error], [503, way === 'mistaken' ? 'MESH_PEER_MISMATCH' : 'MESH_UPSTREAM_TLS'])
    })
  }
  await t.test('an identity of the mesh that policy does not name gets 403 from meshlet', async () => {
    assert.equal((await refused(ask(p.fromEnvoy, 'stranger.test'))).status, 403)
  })
  for (const [way, what] of [
    ['stranger-only', "an identity that the listener's SAN list does not name"],
    ['foreign', 'a certificate of another CA that says the right name'],
  ] as const) {
    await t.test(`${what} does not get through meshlet's handshake`, async () => {
      assert.equal((await refused(ask(p.fromEnvoy, `${way}.test`))).status, 503)
    })
  }
  await t.test(
    'plain text, TLS without a certificate and one of another CA get nothing from meshlet, nor from Envoy',
    async () => {
      for (const port of [p.meshletOpen, p.meshletOnly, p.envoyOpen]) {
        assert.deepEqual(
          [
            (await refused(ask(port, 'x.test'))).status,
            (await refused(direct(mesh, port, undefined))).status,
            (await refused(direct(mesh, port, 'foreign'))).status,
          ],
          [0, 0, 0],
        )
      }
      assert.equal((await refused(direct(mesh, p.meshletOpen, 'stranger'))).status, 403)
      assert.equal((await refused(direct(mesh, p.meshletOnly, 'stranger'))).status, 0)
    },
  )
}

async function countsAndLog(t: TestContext, { agent }: Mesh): Promise<void> {
  await t.test('meshlet has counted whom it refused, and logged each with its code', async () => {
    const counted = async (): Promise<string> => (await agent.get('/stats/prometheus'))?.text ?? ''
    const failed = Number(
      /^mesh_connections_failed_total\{direction="inbound",code="MESH_TLS_HANDSHAKE"\} (\d+)$/m.exec(
        await counted(),
      )?.[1],
    )
    // Many of a kind become one line with a count. Lines come through a pipe, later than the page of counters.
    let told = ''
    await until(
      'each is logged or left out',
      async () => {
        const logged = agent.process.log
          .split('\n')
          .filter((line) => line.includes('"evt":"connection.refused"') && line.includes('MESH_TLS_HANDSHAKE')).length
        const leftOut = Number(/^mesh_log_lines_left_out_total (\d+)$/m.exec(await counted())?.[1])
        told = `${failed} failed, ${logged} logged, ${leftOut} lines left out`
        return logged >= 5 && logged <= failed && logged + leftOut >= failed
      },
      undefined,
      () => told,
    )
    assert.match(await counted(), /^mesh_http_denied_total 2$/m)
    assert.ok(failed >= 9, `${failed} refused handshakes`)
  })
}

/** The last element, which is the hop's own, as name and value. */
function fieldsOf(xfcc: string): [string, string][] {
  return xfcc
    .slice(xfcc.lastIndexOf(',') + 1)
    .split(';')
    .map((field) => [field.slice(0, field.indexOf('=')), field.slice(field.indexOf('=') + 1)])
}

const logsOf = ({ agent, envoy }: Mesh): string => `${agent.process.log.slice(-3000)}\n${envoy.log}`

/** What the application says it was told of its caller. */
function told(mesh: Mesh, { status, body, error }: Answer): { xfcc: string; bytes: number } {
  assert.equal(status, 200, error + logsOf(mesh))
  return JSON.parse(body) as { xfcc: string; bytes: number }
}

/** The answer to something that must not reach an application. */
async function refusedBy({ arrived }: Mesh, what: Promise<Answer>): Promise<Answer> {
  const before = arrived()
  const answer = await what
  assert.equal(arrived(), before, 'nothing reached the application')
  return answer
}
