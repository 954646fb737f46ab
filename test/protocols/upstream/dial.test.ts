import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Network } from '../../../core/os/network.ts'
import { cluster, endpoint, GET, Harness, OK, ORIGIN } from '../http/harness.ts'
import { dial } from '../../../protocols/upstream/dial.ts'
import { ANY_TLS } from '../parts.ts'

test('what a cluster says about its sockets reaches the network: the local address and TCP keep-alive', async () => {
  await using h = new Harness([
    cluster(undefined, { bindAddress: '127.0.0.2', keepAlive: { idleMs: 7_000, probes: 3 } }),
  ])
  const asked: unknown[] = []
  const dial = h.network.dial.bind(h.network)
  h.network.dial = (to, signal, options?: Parameters<Network['dial']>[2]) => {
    asked.push(options)
    return dial(to, signal)
  }
  const origin = await h.origin()
  const client = h.connect()
  await client.send(GET)
  await origin.answer(OK)
  assert.match(await client.take(), /200 OK/)
  assert.deepEqual(asked, [{ from: '127.0.0.2', keepAlive: { idleMs: 7_000, probes: 3 } }])
})

test('a PROXY header stands before anything else, TLS included', async () => {
  const tls = { ...ANY_TLS, sni: 'a.example' }
  await using h = new Harness([cluster(undefined, { transport: { kind: 'tls', tls } })])
  const origin = await h.origin()
  const { signal } = new AbortController()
  const makeHeader = ({ remote }: { readonly remote: { readonly port: number } }): Buffer =>
    Buffer.from(`PROXY to ${remote.port}\r\n`)
  void dial(h.ctx, cluster(undefined, { transport: { kind: 'tls', tls } }), endpoint(ORIGIN.host, ORIGIN.port), {
    address: ORIGIN.host,
    port: ORIGIN.port,
    speaks: 'tcp',
    host: undefined,
    signal,
    makeHeader,
  }).catch(() => undefined)
  const first = await origin.last.take()
  assert.ok(first.startsWith(`PROXY to ${ORIGIN.port}\r\n`), first.slice(0, 40))
  assert.match(first, /a\.example/)
})

test("with auto_host_sni the endpoint's hostname is the name that TLS asks for, and the name of its address where it has none", async () => {
  for (const { more, address, asked } of [
    { more: { hostname: 'named.example' }, address: ORIGIN.host, asked: 'named.example' },
    { more: {}, address: ORIGIN.host, asked: undefined },
  ]) {
    const tls = { ...ANY_TLS, sni: '', sniOfEndpoint: true as const }
    await using h = new Harness([cluster([endpoint(address, ORIGIN.port, more)], { transport: { kind: 'tls', tls } })])
    const origin = await h.origin()
    await h.connect().send(GET)
    const hello = await origin.last.take()
    assert.ok(hello.length > 100, 'a ClientHello')
    assert.equal(/[\w-]+\.example/.exec(hello)?.[0], asked)
  }
})
