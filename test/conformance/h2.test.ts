/**
 * nghttp2's clients and curl against the shipped bundle's HTTP/2, over TLS with ALPN, with an HTTP/1.1 origin behind.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import type http from 'node:http'
import path from 'node:path'
import { benchCertificates } from '../bench/certificates.ts'
import { findDebianProgram } from '../../tools/debian.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { serveHttp } from '../helpers/serve-http.ts'
import { run, temporaryFolder, type Ended, type Finally } from './programs.ts'
import { Agent, directoryMode, hostRoutes, staticCluster, writeResources } from './package/shipped.ts'

const LARGE = randomBytes(32 * 1024 * 1024)
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** Answers with what it was sent, and at `/large` with 32 MiB. */
async function startOrigin(t: Finally): Promise<number> {
  const answer: http.RequestListener = (req, res) => {
    if (req.url === '/large') {
      res.end(LARGE)
      return
    }
    const hash = createHash('sha256')
    let bytes = 0
    req.on('data', (d: Buffer) => {
      hash.update(d)
      bytes += d.length
    })
    req.on('end', () => {
      res.end(
        JSON.stringify({
          method: req.method,
          host: req.headers.host,
          bytes,
          sha256: hash.digest('hex'),
          trailers: req.trailers,
          long: String(req.headers['x-long'] ?? '').length,
        }),
      )
    })
  }
  return await serveHttp(t, answer, { maxHeaderSize: 128 * 1024 })
}

type Site = { agent: Agent; url: string; folder: string; curl: (...args: string[]) => Promise<Ended> }

async function site(t: Finally): Promise<Site> {
  const [port] = (await freePorts(1)) as [number]
  const folder = temporaryFolder(t)
  const certificates = benchCertificates(folder)
  const originPort = await startOrigin(t)
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `listeners:\n- {name: in, kind: http, port: ${port}, routes: in, tls: {mode: server, chain: ${certificates.origin.chain}, key: ${certificates.origin.key}}}\n`,
    ),
  )
  writeResources(agent.folder, [staticCluster('origin', originPort), hostRoutes('in', { '*': 'origin' })])
  await agent.start()
  const curl = (...args: string[]): Promise<Ended> =>
    run(
      findDebianProgram('curl'),
      [
        '-sS',
        '--noproxy',
        '*',
        '--cacert',
        certificates.roots,
        '--connect-to',
        `::127.0.0.1:${port}`,
        '--max-time',
        '60',
        ...args,
      ],
      { cwd: folder },
    )
  return { agent, url: `https://127.0.0.1:${port}`, folder, curl }
}

const at = 'https://origin.test'

test('HTTP/2 clients of nghttp2 and curl', { timeout: 300_000 }, async (t) => {
  const s = await site(t)
  await curlAndManyStreams(t, s)
  await headerBlocksAndTrailers(t, s)
  await drain(t, s)
})

async function curlAndManyStreams(t: TestContext, { url, folder, curl }: Site): Promise<void> {
  await t.test('curl speaks HTTP/2 by ALPN and HTTP/1.1 when it asks for that (RFC 9113 §3.2)', async () => {
    const { out, err } = await curl('--http2', '-w', '\n%{http_version} %{http_code}', `${at}/a`)
    assert.match(out, /^\{"method":"GET","host":"origin\.test",.*\n2 200$/, err)
    assert.match((await curl('--http1.1', '-w', '\n%{http_version} %{http_code}', `${at}/a`)).out, /\n1\.1 200$/)
  })
  await t.test('32 MiB down and up, bit for bit, with flow control (RFC 9113 §5.2)', async () => {
    const [down, from] = [path.join(folder, 'down'), path.join(folder, 'up')]
    await curl('--http2', '-o', down, `${at}/large`)
    assert.equal(sha256(fs.readFileSync(down)), sha256(LARGE))
    fs.writeFileSync(from, LARGE)
    const told = JSON.parse((await curl('--http2', '-X', 'PUT', '-T', from, `${at}/up`)).out) as {
      bytes: number
      sha256: string
    }
    assert.deepEqual([told.bytes, told.sha256], [LARGE.length, sha256(LARGE)])
  })
  await t.test(
    'h2load: thousands of streams on few connections, none fails, more than the limit wait (RFC 9113 §5.1.2)',
    async () => {
      for (const streams of ['10', '200']) {
        const { out, err } = await run(findDebianProgram('h2load'), [
          '-n',
          '4000',
          '-c',
          '4',
          '-m',
          streams,
          `${url}/a`,
        ])
        assert.match(out, /Application protocol: h2/, err)
        assert.match(
          out,
          /requests: 4000 total, 4000 started, 4000 done, 4000 succeeded, 0 failed, 0 errored, 0 timeout/,
        )
        assert.match(out, /status codes: 4000 2xx, 0 3xx, 0 4xx, 0 5xx/)
      }
    },
  )
}

async function headerBlocksAndTrailers(t: TestContext, { url, folder, curl }: Site): Promise<void> {
  await t.test('nghttp: HEAD without content, and a header block in CONTINUATION frames (RFC 9113 §6.10)', async () => {
    const head = await run(findDebianProgram('nghttp'), ['-v', '-H', ':method: HEAD', `${url}/a`])
    assert.match(head.out, /:status: 200/, head.err)
    assert.doesNotMatch(head.out, /"method":"HEAD"/)
    const long = await run(findDebianProgram('nghttp'), ['-v', '-H', `x-long: ${'y'.repeat(40_000)}`, `${url}/a`])
    // nghttp tells the whole block's length; frames hold 16,384 bytes, the rest goes in CONTINUATION.
    assert.ok(Number(/send HEADERS frame <length=(\d+)/.exec(long.out)?.[1]) > 2 * 16_384)
    assert.match(long.out, /"long":40000/, long.out.slice(-1500))
  })
  await t.test('nghttp: trailers of a request reach the HTTP/1.1 origin (RFC 9110 §6.5)', async () => {
    const body = path.join(folder, 'body')
    fs.writeFileSync(body, 'content')
    const { out, err } = await run(findDebianProgram('nghttp'), [
      '-d',
      body,
      '--trailer',
      'x-checksum: 1',
      '--no-content-length',
      `${url}/a`,
    ])
    assert.deepEqual((JSON.parse(out) as { bytes: number; trailers: object }).bytes, 7, err)
    assert.deepEqual((JSON.parse(out) as { trailers: object }).trailers, { 'x-checksum': '1' })
  })
  await t.test(
    'a header block above limits.maxHeaderBytes costs that stream an answer, not the agent its life',
    async () => {
      const { out } = await run(findDebianProgram('nghttp'), [
        '-v',
        ...Array.from({ length: 8 }, (_, i) => ['-H', `x-long-${i}: ${'y'.repeat(12_000)}`]).flat(),
        `${url}/a`,
      ])
      assert.doesNotMatch(out, /:status: 200/)
      assert.match((await curl('--http2', '-w', '\n%{http_version} %{http_code}', `${at}/a`)).out, /\n2 200$/)
    },
  )
}

async function drain(t: TestContext, { agent, folder, curl }: Site): Promise<void> {
  await t.test('SIGTERM: GOAWAY, the open stream ends, exit code 0 (RFC 9113 §6.8)', async () => {
    const slow = curl(
      '--http2',
      '--limit-rate',
      '20M',
      '-o',
      path.join(folder, 'slow'),
      '-w',
      '%{http_code} %{size_download}',
      `${at}/large`,
    )
    await agent.process.until('the transfer has begun', () => fs.existsSync(path.join(folder, 'slow')))
    const ended = agent.process.stop('SIGTERM')
    assert.equal((await slow).out, `200 ${LARGE.length}`)
    assert.equal(await ended, 0, agent.process.log.slice(-2000))
  })
}
