/** What is said of a control plane's certificate once TLS is up; test/control-sync/ads has it over real connections. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import type { ChannelCredentials } from '@grpc/grpc-js'
import { withVerification } from '../../../control-sync/connection/verify-server.ts'
import { testCa } from '../../helpers/test-ca.ts'

const ca = testCa()
const DAY_MS = 86_400_000
const certificateFor = (
  names: readonly string[],
  { by = ca, ...o }: { by?: typeof ca; notBeforeMs?: number; ttlSec?: number } = {},
): X509Certificate => new X509Certificate(by.issue('istio-system', 'istiod', { dnsNames: names, ...o }).chainPem)

/** Connects to a server that shows `certificate`, of which OpenSSL said `authorizationError`. */
async function connect(o: {
  certificate?: X509Certificate
  authorizationError?: string
  target?: string
  serverName?: string
  nowMs?: number
  clockIsWrong?: boolean
}): Promise<{ outcome: string; seen: number[]; isDestroyed: boolean }> {
  const seen: number[] = []
  let isDestroyed = false
  const socket = {
    authorized: o.authorizationError === undefined,
    authorizationError: o.authorizationError ?? null,
    getPeerX509Certificate: () => o.certificate,
    destroy: () => {
      isDestroyed = true
    },
  }
  const plain = {
    _createSecureConnector: () => ({
      connect: async () => ({ socket }),
      waitForReady: async () => {},
      destroy: () => {},
    }),
  } as unknown as ChannelCredentials
  const credentials = withVerification(plain, {
    roots: ca.rootsPem,
    serverName: o.serverName,
    certificateClock: {
      nowMs: () => o.nowMs ?? Date.now(),
      clockIsWrong: o.clockIsWrong ?? false,
      seen: (ms) => {
        seen.push(ms)
      },
    },
  })
  const options = o.serverName === undefined ? {} : { 'grpc.ssl_target_name_override': o.serverName }
  const connector = credentials._createSecureConnector(
    { scheme: 'dns', path: o.target ?? 'istiod.example:15012' },
    options,
    undefined as never,
  )
  const outcome = await connector.connect(undefined as never).then(
    () => 'in',
    (err: Error) => err.message,
  )
  return { outcome, seen, isDestroyed }
}
const late = { clockIsWrong: true, authorizationError: 'CERT_HAS_EXPIRED' }

test('with a right clock what OpenSSL accepted is in, without another look', async () => {
  assert.deepEqual(await connect({}), { outcome: 'in', seen: [], isDestroyed: false })
})

test('with a right clock what OpenSSL refused is told in its words, and the socket is closed', async () => {
  const certificate = certificateFor(['istiod.example'])
  const { outcome, isDestroyed } = await connect({ certificate, authorizationError: 'CERT_HAS_EXPIRED' })
  assert.equal(outcome, "the server's certificate is not trusted: certificate has expired")
  assert.equal(isDestroyed, true)
  assert.match((await connect({ certificate, authorizationError: 'SOMETHING' })).outcome, /not trusted: SOMETHING$/)
  assert.match((await connect({ authorizationError: 'SOMETHING' })).outcome, /not trusted: there is none$/)
})

test('another name is told as such', async () => {
  const certificate = certificateFor(['other.example'])
  const { outcome } = await connect({ certificate, authorizationError: 'ERR_TLS_CERT_ALTNAME_INVALID' })
  assert.match(outcome, /other altnames: it is for .*other\.example.*, not for istiod\.example$/)
})

test('with a wrong clock the certificate is checked by the floor, and tells how late it is', async () => {
  const notBeforeMs = Math.floor(Date.now() / 1_000) * 1_000 - DAY_MS
  const certificate = certificateFor(['istiod.example'], { notBeforeMs, ttlSec: 3 * 86_400 })
  assert.deepEqual(await connect({ ...late, certificate, nowMs: notBeforeMs }), {
    outcome: 'in',
    seen: [notBeforeMs],
    isDestroyed: false,
  })
})

test('not valid yet, by a clock that seems right: the signature says that the clock is behind', async () => {
  const notBeforeMs = Math.floor(Date.now() / 1_000) * 1_000 + DAY_MS
  const certificate = certificateFor(['istiod.example'], { notBeforeMs })
  const { outcome, seen } = await connect({ certificate, authorizationError: 'CERT_NOT_YET_VALID' })
  assert.deepEqual([outcome, seen], ['in', [notBeforeMs]])
})

for (const { name, certificate, nowMs } of [
  { name: 'another name', certificate: certificateFor(['other.example']), nowMs: Date.now() },
  {
    name: 'another root',
    certificate: certificateFor(['istiod.example'], { by: testCa() }),
    nowMs: Date.now(),
  },
  { name: 'an end that has passed', certificate: certificateFor(['istiod.example']), nowMs: Date.now() + 9 * DAY_MS },
])
  test(`a wrong clock excuses nothing else: ${name}`, async () => {
    const { outcome, seen, isDestroyed } = await connect({ ...late, certificate, nowMs })
    assert.notEqual(outcome, 'in')
    assert.deepEqual([seen, isDestroyed], [[], true])
  })

test('a wrong clock: not even what OpenSSL accepted is in without a look', async () => {
  assert.notEqual((await connect({ clockIsWrong: true, certificate: certificateFor(['other.example']) })).outcome, 'in')
})

for (const { target, serverName, names } of [
  { target: '[fd00::1]:15012', serverName: undefined, names: ['fd00::1'] },
  { target: '10.0.0.1:15012', serverName: undefined, names: ['istiod.istio-system.svc'] },
  { target: '10.0.0.1:15012', serverName: 'b.example', names: ['b.example'] },
])
  test(`the name is that of ${serverName ?? target}`, async () => {
    const o = { ...late, target, ...(serverName === undefined ? {} : { serverName }) }
    assert.equal((await connect({ ...o, certificate: certificateFor(names) })).outcome, 'in')
    assert.notEqual((await connect({ ...o, certificate: certificateFor(['other.example']) })).outcome, 'in')
  })
