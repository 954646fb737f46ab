import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import tls from 'node:tls'
import type { AddressInfo } from 'node:net'
import { MeshError } from '../../../core/errors.ts'
import { NamedFiles } from '../../../core/os/named-files.ts'
import { systemNetwork } from '../../../core/os/network.ts'
import { systemClock } from '../../../core/os/clock.ts'
import type { Arrival } from '../../../protocols/jwks/arrivals.ts'
import { ALONE } from './rig.ts'
import { readOverHttps } from '../../../protocols/jwks/fetch-text.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { testCa } from '../../helpers/test-ca.ts'

/** A server whose authority this machine trusts, unless `stranger`. */
async function ask(
  t: TestContext,
  answer: string | undefined,
  o: {
    readonly name?: string
    readonly stranger?: boolean
    readonly maxBytes?: number
    readonly timeoutMs?: number
    readonly arrival?: Arrival
  } = {},
): Promise<{ text: string; asked: string }> {
  const [ca, other] = [testCa(), testCa()]
  const leaf = ca.issue('site', 'issuer', { dnsNames: [o.name ?? 'localhost'] })
  let asked = ''
  const server = tls.createServer({ key: leaf.keyPem, cert: leaf.chainPem }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      asked += chunk.toString()
      if (answer !== undefined && asked.endsWith('\r\n\r\n')) socket.end(answer)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const systemRoots = path.join(temporaryFolder(t), 'roots.pem')
  fs.writeFileSync(systemRoots, (o.stranger ? other : ca).rootsPem)
  const { port } = server.address() as AddressInfo
  const text = await readOverHttps(new URL(`https://localhost:${port}/keys?a=b`), {
    network: systemNetwork,
    clock: systemClock,
    files: new NamedFiles({ folders: [], systemRoots, nowMs: () => 0 }),
    maxBytes: o.maxBytes ?? 1_000,
    timeoutMs: o.timeoutMs ?? 10_000,
    arrival: o.arrival ?? ALONE,
  })
  return { text, asked }
}
const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n'

test('the document, whatever its framing', async (t) => {
  const { text, asked } = await ask(t, `${HEAD}content-length: 2\r\n\r\n{}`)
  assert.equal(text, '{}')
  assert.match(asked, /^GET \/keys\?a=b HTTP\/1\.1\r\nhost: localhost:\d+\r\n/)
  assert.equal((await ask(t, `${HEAD}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n`)).text, '{}')
  assert.equal((await ask(t, `${HEAD}\r\n{}`)).text, '{}')
})

for (const { name, answer, how, reason } of [
  { name: 'of another name', answer: '', how: { name: 'evil.example' }, reason: /localhost/ },
  {
    name: 'of an authority that is not trusted',
    answer: '',
    how: { stranger: true },
    reason: /certificate|issuer|trusted/i,
  },
  {
    name: 'that redirects',
    answer: 'HTTP/1.1 302 Found\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n',
    reason: /status is 302/,
  },
  {
    name: 'that has more than it may',
    answer: `${HEAD}content-length: 1001\r\n\r\n${'x'.repeat(1_001)}`,
    reason: /larger than 1000/,
  },
  { name: 'that ends too early', answer: `${HEAD}content-length: 10\r\n\r\n{}`, reason: /closed before|ended|closed/ },
  { name: 'that speaks no HTTP', answer: 'SSH-2.0-x\r\n\r\n', reason: /./ },
  { name: 'that says nothing', answer: undefined, how: { timeoutMs: 300 }, reason: /no answer within 300 ms/ },
] as const)
  test(`nothing is taken from a server ${name}`, async (t) => {
    await assert.rejects(ask(t, answer, how), reason)
  })

test('through the HTTP proxy of the environment, unless the host is to be reached directly', async () => {
  for (const [noProxy, want] of [
    [[], 'proxy:3128'],
    [['issuer.example'], 'issuer.example:443'],
  ] as const) {
    const dialed: string[] = []
    await assert.rejects(
      readOverHttps(new URL('https://issuer.example/keys'), {
        network: {
          ...systemNetwork,
          dial: async ({ host, port }) => {
            dialed.push(`${host}:${port}`)
            throw new Error('enough')
          },
        },
        clock: systemClock,
        files: undefined,
        findProxy: () => ({ address: { host: 'proxy', port: 3128 }, credentials: undefined, noProxy }),
        maxBytes: 1_000,
        timeoutMs: 10_000,
        arrival: ALONE,
      }),
      { message: 'enough' },
    )
    assert.deepEqual(dialed, [want])
  }
})

test('what is there of a document is told, and it is given up when others need the memory', async (t) => {
  const end = new AbortController()
  let bytes = 0
  const arrival: Arrival = {
    signal: end.signal,
    set: (now) => {
      bytes = now
      end.abort(new MeshError('MESH_JWKS_UNAVAILABLE', 'others need the memory'))
    },
  }
  await assert.rejects(ask(t, `${HEAD}content-length: 10\r\n\r\n{`, { arrival }), /others need the memory/)
  assert.equal(bytes, 1)
})
