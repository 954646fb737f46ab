/**
 * Real nginx and haproxy behind meshlet, real curl in front: what HTTP/1.1 programs do to each other, through the
 * shipped bundle.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { findDebianProgram } from '../../tools/debian.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { serveHttp } from '../helpers/serve-http.ts'
import { run, start, temporaryFolder, type Ended, type Finally, type Running } from './programs.ts'
import { Agent, directoryMode, hostRoutes, staticCluster, writeResources } from './package/shipped.ts'

const LARGE_BYTES = 64 * 1024 * 1024
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const digest = (text: string): string => `${text.length} ${sha256(Buffer.from(text))}`
const LINES = 'a line that compresses well\n'.repeat(2000)

/**
 * Answers with method, length and checksum of the body; `/connection` tells whether a hop-by-hop header came through.
 */
async function echo(t: Finally): Promise<number> {
  return await serveHttp(t, (req, res) => {
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
          bytes,
          sha256: hash.digest('hex'),
          upgrade: req.headers.upgrade ?? null,
          te: req.headers['transfer-encoding'] ?? null,
          forwarded: req.headers['x-forwarded-for'] ?? null,
        }),
      )
    })
  })
}

type Site = {
  readonly agent: Agent
  readonly proxyPort: number
  readonly www: string
  readonly large: Buffer
  restartNginx(): Promise<void>
  curl(...args: string[]): Promise<Ended>
}

/** meshlet with the hosts `nginx.test` (directly) and `haproxy.test` (haproxy in front of the same nginx). */
async function site(t: Finally): Promise<Site> {
  const [nginxPort, haproxyPort, proxyPort] = (await freePorts(3)) as [number, number, number]
  const [www, folder] = [temporaryFolder(t, 0o755), temporaryFolder(t, 0o755)]
  const large = randomBytes(LARGE_BYTES)
  fs.writeFileSync(path.join(www, 'large.bin'), large)
  fs.writeFileSync(path.join(www, 'small.txt'), 'small\n')
  fs.writeFileSync(path.join(www, 'empty.txt'), '')
  fs.writeFileSync(path.join(www, 'lines.txt'), LINES)
  const echoPort = await echo(t)
  fs.writeFileSync(
    path.join(folder, 'nginx.conf'),
    `daemon off; master_process off; user root; pid ${folder}/nginx.pid; error_log stderr warn; events { worker_connections 1024; }
http { access_log off; client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  types { text/plain txt; } default_type application/octet-stream; gzip_proxied any; gzip_types text/plain; client_max_body_size 0; keepalive_requests 1000;
  server { listen 127.0.0.1:${nginxPort}; root ${www}; add_header x-connection $connection always;
    location = /lines.txt { gzip on; }
    location = /moved { return 301 /small.txt; }
    location = /none { return 204; }
    location /echo { proxy_pass http://127.0.0.1:${echoPort}; proxy_http_version 1.1; proxy_request_buffering off; }
    location /one-shot { keepalive_timeout 0; alias ${www}/; }
  } }\n`,
  )
  fs.writeFileSync(
    path.join(folder, 'haproxy.cfg'),
    `global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  option http-keep-alive
frontend f\n  bind 127.0.0.1:${haproxyPort}\n  default_backend b\nbackend b\n  server o 127.0.0.1:${nginxPort}\n`,
  )
  const nginx = (): Running =>
    start(t, findDebianProgram('nginx'), ['-p', folder, '-c', path.join(folder, 'nginx.conf')])
  let running = nginx()
  const haproxy = start(t, findDebianProgram('haproxy'), ['-db', '-f', path.join(folder, 'haproxy.cfg')])
  await running.listening(nginxPort)
  await haproxy.listening(haproxyPort)
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: in, kind: http, port: ${proxyPort}, routes: in}]\n`),
  )
  writeResources(agent.folder, [
    staticCluster('nginx', nginxPort),
    staticCluster('haproxy', haproxyPort),
    hostRoutes('in', { 'nginx.test': 'nginx', 'haproxy.test': 'haproxy' }),
  ])
  await agent.start()
  return {
    agent,
    proxyPort,
    www,
    large,
    curl: (...args) =>
      run(
        findDebianProgram('curl'),
        ['-sS', '--noproxy', '*', '--connect-to', `::127.0.0.1:${proxyPort}`, '--max-time', '60', ...args],
        { cwd: folder },
      ),
    async restartNginx() {
      await running.stop('SIGKILL')
      running = nginx()
      await running.listening(nginxPort)
    },
  }
}

/** Status line and headers of each answer that `curl -i` or `-D` printed; names in small letters. */
function heads(text: string): { status: number; version: string; headers: Map<string, string> }[] {
  return [...text.matchAll(/^HTTP\/([\d.]+) (\d{3}).*\r\n((?:.+\r\n)*)\r?\n/gm)].map(([, version, status, lines]) => ({
    status: Number(status),
    version: version!,
    headers: new Map(
      lines!
        .trimEnd()
        .split('\r\n')
        .map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]),
    ),
  }))
}

const urlOf =
  (host: string) =>
  (name: string): string =>
    `http://${host}/${name}`

test('HTTP/1.1 through meshlet to nginx, and to haproxy in front of it', { timeout: 300_000 }, async (t) => {
  const s = await site(t)
  for (const host of ['nginx.test', 'haproxy.test']) {
    await reuseOfConnections(t, s, host)
    await framingOfAnswers(t, s, host)
    await statusesAndLargeContent(t, s, host)
    await upgradesAndOriginsThatClose(t, s, host)
  }
  await t.test("after nginx was killed and started again the pool's dead connections cost no GET", async () => {
    for (let round = 0; round < 3; round++) {
      await s.curl(
        '-Z',
        '--parallel-max',
        '8',
        ...Array.from({ length: 8 }, () => ['-o', '/dev/null', 'http://nginx.test/small.txt']).flat(),
      )
      await s.restartNginx()
      const { out } = await s.curl(
        '-w',
        '%{http_code} ',
        ...Array.from({ length: 10 }, () => ['-o', '/dev/null', 'http://nginx.test/small.txt']).flat(),
      )
      assert.equal(out, '200 '.repeat(10))
    }
  })
  await t.test('a host that no route knows is 404 and nothing else fails', async () => {
    assert.equal((await s.curl('-o', '/dev/null', '-w', '%{http_code}', 'http://unknown.test/')).out, '404')
    assert.deepEqual((await s.agent.status())?.problems, [])
  })
})

async function reuseOfConnections(t: TestContext, s: Site, host: string): Promise<void> {
  const url = urlOf(host)
  await t.test(
    `${host}: content and length as the file has them, and the client's connection is used again (RFC 9112 §9.3)`,
    async () => {
      const { out, err } = await s.curl(
        '-w',
        '%{http_code} %{num_connects} %{size_download}\n',
        url('small.txt'),
        url('empty.txt'),
        url('small.txt'),
      )
      assert.equal(out, 'small\n200 1 6\n200 0 0\nsmall\n200 0 6\n', err)
    },
  )
  await t.test(`${host}: the upstream connection is used again`, async () => {
    const { out } = await s.curl('-D', '-', '-o', '/dev/null', '-o', '/dev/null', url('small.txt'), url('empty.txt'))
    const [a, b] = heads(out).map((h) => h.headers.get('x-connection'))
    assert.ok(a !== undefined)
    assert.equal(a, b)
  })
}

async function framingOfAnswers(t: TestContext, s: Site, host: string): Promise<void> {
  const url = urlOf(host)
  await t.test(`${host}: a chunked answer arrives whole and chunked (RFC 9112 §7.1)`, async () => {
    const { out } = await s.curl('--compressed', url('lines.txt'))
    assert.equal(digest(out), digest(LINES))
    const head = await s.curl('-D', '-', '-o', '/dev/null', '-H', 'Accept-Encoding: gzip', url('lines.txt'))
    assert.equal(heads(head.out)[0]?.headers.get('transfer-encoding'), 'chunked')
    assert.equal(heads(head.out)[0]?.headers.get('content-encoding'), 'gzip')
  })
  await t.test(
    `${host}: an HTTP/1.0 client gets the chunked answer without chunks, ended by the close (RFC 9112 §6.1)`,
    async () => {
      const headFile = path.join(s.agent.folder, 'head')
      const { out } = await s.curl('-0', '-D', headFile, '--compressed', url('lines.txt'))
      assert.equal(digest(out), digest(LINES))
      const head = heads(fs.readFileSync(headFile, 'latin1'))[0]
      assert.equal(head?.status, 200)
      assert.equal(head.headers.get('transfer-encoding'), undefined)
    },
  )
  await t.test(
    `${host}: HEAD has the length and no content, and the connection goes on (RFC 9110 §9.3.2)`,
    async () => {
      const { out } = await s.curl('-I', '-w', '%{num_connects}\n', url('large.bin'), url('small.txt'))
      const [first, second] = heads(out)
      assert.deepEqual(
        [first?.status, first?.headers.get('content-length'), second?.headers.get('content-length')],
        [200, String(LARGE_BYTES), '6'],
      )
      assert.match(out, /\n0\n$/)
    },
  )
  await t.test(`${host}: 304 to a matching ETag, and the connection goes on (RFC 9110 §15.4.5)`, async () => {
    const etag = heads((await s.curl('-I', url('small.txt'))).out)[0]?.headers.get('etag')
    assert.ok(etag)
    const { out } = await s.curl(
      '-w',
      '%{http_code} %{num_connects}\n',
      '-H',
      `If-None-Match: ${etag}`,
      url('small.txt'),
      url('small.txt'),
      '--next',
      '-sS',
      '--noproxy',
      '*',
      '--connect-to',
      `::127.0.0.1:${s.proxyPort}`,
      '-w',
      '%{http_code} %{num_connects}\n',
      url('small.txt'),
    )
    assert.equal(out, '304 1\n304 0\nsmall\n200 0\n')
  })
}

async function statusesAndLargeContent(t: TestContext, s: Site, host: string): Promise<void> {
  const url = urlOf(host)
  await t.test(`${host}: 204, 206, 301, 404 and 405 pass as they are`, async () => {
    assert.equal((await s.curl('-w', '%{http_code}', url('none'))).out, '204')
    assert.equal((await s.curl('-r', '2-3', '-w', ' %{http_code}', url('small.txt'))).out, 'al 206')
    assert.match(
      (await s.curl('-o', '/dev/null', '-w', '%{http_code} %{redirect_url}', url('moved'))).out,
      /^301 http:\/\/(nginx|haproxy)\.test(:\d+)?\/small\.txt$/,
    )
    assert.equal((await s.curl('-o', '/dev/null', '-w', '%{http_code}', url('absent'))).out, '404')
    assert.equal((await s.curl('-o', '/dev/null', '-w', '%{http_code}', '-X', 'DELETE', url('small.txt'))).out, '405')
  })
  await t.test(
    `${host}: 64 MiB down, and 64 MiB up with a length, with chunks and with Expect: 100-continue, bit for bit`,
    async () => {
      const to = path.join(s.agent.folder, 'down.bin')
      await s.curl('-o', to, url('large.bin'))
      assert.equal(sha256(fs.readFileSync(to)), sha256(s.large))
      const from = path.join(s.www, 'large.bin')
      for (const args of [
        ['-H', 'Expect:'],
        ['-H', 'Expect: 100-continue'],
        ['-H', 'Expect:', '-H', 'Transfer-Encoding: chunked'],
      ]) {
        const { out, err } = await s.curl('-X', 'PUT', '-T', from, ...args, url('echo'))
        const told = JSON.parse(out || '{}') as { bytes: number; sha256: string; method: string }
        assert.deepEqual(
          { method: told.method, bytes: told.bytes, sha256: told.sha256 },
          { method: 'PUT', bytes: LARGE_BYTES, sha256: sha256(s.large) },
          args.join(' ') + err,
        )
      }
    },
  )
}

async function upgradesAndOriginsThatClose(t: TestContext, s: Site, host: string): Promise<void> {
  const url = urlOf(host)
  await t.test(
    `${host}: an upgrade that the origin does not take is an ordinary answer (RFC 9110 §7.8), after which the connection is over as in Envoy; h2c is a mere offer`,
    async () => {
      for (const [upgrade, connects] of [
        ['websocket', 1],
        ['h2c', 0],
      ] as const) {
        const { out } = await s.curl(
          '-w',
          ' %{http_code} %{num_connects}\n',
          '-H',
          'Connection: Upgrade',
          '-H',
          `Upgrade: ${upgrade}`,
          '-H',
          'Sec-WebSocket-Version: 13',
          '-H',
          'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
          url('small.txt'),
          url('small.txt'),
        )
        assert.equal(out, `small\n 200 1\nsmall\n 200 ${connects}\n`, upgrade)
      }
    },
  )
  await t.test(`${host}: an origin that closes after each answer costs no request`, async () => {
    const urls = Array.from({ length: 50 }, () => url('one-shot/small.txt'))
    const { out } = await s.curl('-w', '%{http_code} ', ...urls)
    assert.equal(out, 'small\n200 '.repeat(50))
  })
}
