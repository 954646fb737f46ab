/**
 * nginx, Go's net/http and Python's http.server behind the shipped bundle: three readers of HTTP/1.1 that nobody here
 * wrote. Whatever a client sends over HTTP/1.1 or HTTP/2, an endpoint finds one request per exchange at most, with
 * nobody's forged identity, and the client gets one answer of its own.
 */
import { before, test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { freePorts } from '../../tools/free-ports.ts'
import { frame, headers, RawH2, type Fields } from '../helpers/raw-h2.ts'
import { goProgram } from './peers.ts'
import { findDebianProgram } from '../../tools/debian.ts'
import { start, temporaryFolder, type Finally } from './programs.ts'
import { Agent, directoryMode, hostRoutes, staticCluster, writeResources } from './package/shipped.ts'

const GO = `package main

import ("fmt"; "io"; "net/http"; "os")

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Printf("%s %s xfcc=%s trailer=%v\\n", r.Method, r.URL.RequestURI(), r.Header.Get("X-Forwarded-Client-Cert"), r.Trailer)
		fmt.Fprintf(w, "%s", r.URL.RequestURI())
	})
	http.ListenAndServe(os.Args[1], nil)
}
`
const PYTHON = `import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def served(self):
        if self.headers.get('transfer-encoding') == 'chunked':
            while True:
                size = int(self.rfile.readline().split(b';')[0], 16)
                if size == 0: break
                self.rfile.read(size); self.rfile.readline()
            while self.rfile.readline().strip(): pass
        else: self.rfile.read(int(self.headers.get('content-length') or 0))
        # As WSGI and CGI name them: '-' and '_' are the same.
        xfcc = ','.join(v for k, v in self.headers.items() if k.upper().replace('-', '_') == 'X_FORWARDED_CLIENT_CERT')
        print(self.command, self.path, 'xfcc=' + xfcc, flush=True)
        body = b'' if self.command == 'HEAD' else self.path.encode()
        self.send_response(200); self.send_header('content-length', str(len(self.path))); self.end_headers(); self.wfile.write(body)
    do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = do_DELETE = served
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
Server(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
`
const SMUGGLED = 'GET /denied HTTP/1.1\r\nHost: x.test\r\nX-Forwarded-Client-Cert: By=evil\r\n\r\n'
const hex = (text: string): string => text.length.toString(16)
const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n'

/** Name → request line's method, fields and what follows the head. */
const HTTP1: Readonly<Record<string, readonly [method: string, fields: string, rest: string]>> = {
  'an upgrade with a length': ['POST', `${UPGRADE}Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED],
  'an upgrade in chunks': [
    'POST',
    `${UPGRADE}Transfer-Encoding: chunked\r\n`,
    `${hex(SMUGGLED)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  ],
  'an upgrade with a length and GET': ['GET', `${UPGRADE}Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED],
  'an upgrade with what follows': ['GET', UPGRADE, SMUGGLED],
  'an offer of h2c with a body': [
    'POST',
    `Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: ${SMUGGLED.length}\r\n`,
    SMUGGLED,
  ],
  'an offer of TLS in chunks': [
    'POST',
    `Connection: Upgrade\r\nUpgrade: TLS/1.2\r\nTransfer-Encoding: chunked\r\n`,
    `${hex(SMUGGLED)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  ],
  'GET with a body': ['GET', `Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED],
  'HEAD with a body': ['HEAD', `Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED],
  'Connection names Content-Length': [
    'POST',
    `Connection: Content-Length\r\nContent-Length: ${SMUGGLED.length}\r\n`,
    SMUGGLED,
  ],
  'Connection names Transfer-Encoding': [
    'POST',
    'Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n',
    `${hex(SMUGGLED)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  ],
  'length and chunks': ['POST', `Content-Length: 5\r\nTransfer-Encoding: chunked\r\n`, `0\r\n\r\n${SMUGGLED}`],
  'two lengths': ['POST', `Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}\r\n`, SMUGGLED],
  'a list of lengths': ['POST', `Content-Length: 0, ${SMUGGLED.length}\r\n`, SMUGGLED],
  'a length with a sign': ['POST', `Content-Length: +${SMUGGLED.length}\r\n`, SMUGGLED],
  'another coding': ['POST', 'Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${SMUGGLED}`],
  'two codings': ['POST', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', `0\r\n\r\n${SMUGGLED}`],
  'space before the colon': ['POST', `Content-Length : ${SMUGGLED.length}\r\n`, SMUGGLED],
  'a folded line': ['POST', `X-A: 1\r\n Content-Length: ${SMUGGLED.length}\r\n`, SMUGGLED],
  'a bare LF': ['POST', `X-A: 1\nContent-Length: ${SMUGGLED.length}\r\n`, SMUGGLED],
  'a chunk extension': [
    'POST',
    'Transfer-Encoding: chunked\r\n',
    `${hex(SMUGGLED)};a="\r\n"\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  ],
  'a chunk size that overflows': [
    'POST',
    'Transfer-Encoding: chunked\r\n',
    `1000000000000000${hex(SMUGGLED)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  ],
  'a bare LF after a chunk': ['POST', 'Transfer-Encoding: chunked\r\n', `${hex(SMUGGLED)}\n${SMUGGLED}\n0\n\n`],
  'trailers of a head': [
    'POST',
    'Transfer-Encoding: chunked\r\n',
    '1\r\na\r\n0\r\nX-Forwarded-Client-Cert: By=evil\r\nContent-Length: 100\r\nX_Forwarded_Client_Cert: By=evil\r\n\r\n',
  ],
  'a forged identity and its look-alikes': [
    'GET',
    'X-Forwarded-Client-Cert: By=evil\r\nX_Forwarded_Client_Cert: By=evil\r\nX-Forwarded_Client-Cert: By=evil\r\n',
    '',
  ],
}
const HTTP2: Readonly<
  Record<string, { readonly fields?: Fields; readonly body?: string; readonly trailers?: Fields }>
> = {
  'a body of the length it says': { fields: [['content-length', String(SMUGGLED.length)]], body: SMUGGLED },
  'a body of no length': { body: SMUGGLED },
  'a body longer than it says': { fields: [['content-length', '0']], body: SMUGGLED },
  'a body shorter than it says': { fields: [['content-length', '9999']], body: SMUGGLED },
  'chunks within': { body: `0\r\n\r\n${SMUGGLED}` },
  chunked: { fields: [['transfer-encoding', 'chunked']], body: `0\r\n\r\n${SMUGGLED}` },
  'an upgrade': {
    fields: [
      ['connection', 'upgrade'],
      ['upgrade', 'websocket'],
    ],
    body: SMUGGLED,
  },
  'a line of its own in a value': { fields: [['x-a', `1\r\nx-forwarded-client-cert: By=evil\r\n\r\n${SMUGGLED}`]] },
  'a line of its own in a name': { fields: [['x-a: 1\r\nx-forwarded-client-cert', 'By=evil']] },
  'a forged identity and its look-alikes': {
    fields: [
      ['x-forwarded-client-cert', 'By=evil'],
      ['x_forwarded_client_cert', 'By=evil'],
    ],
  },
  'trailers of a head': {
    body: 'a',
    trailers: [
      ['x-forwarded-client-cert', 'By=evil'],
      ['x_forwarded_client_cert', 'By=evil'],
      ['content-length', '100'],
      ['transfer-encoding', 'chunked'],
    ],
  },
  trailers: {
    body: 'a',
    trailers: [
      ['x-mine', '1'],
      ['authorization', 'By=evil'],
      ['http2-settings', 'x'],
    ],
  },
}

const ENDPOINTS = ['nginx', 'go', 'python'] as const
type Site = { readonly port: number; seen(endpoint: (typeof ENDPOINTS)[number]): string[] }
let site: Site

before(async () => {
  site = await started({
    after: (fn) => {
      ended.push(fn)
    },
  })
})
const ended: (() => void | Promise<void>)[] = []
test.after(async () => {
  for (const fn of ended.reverse()) await fn()
})

async function started(t: Finally): Promise<Site> {
  const [port, nginxPort, goPort, pythonPort] = (await freePorts(4)) as [number, number, number, number]
  const folder = temporaryFolder(t, 0o755)
  fs.writeFileSync(
    path.join(folder, 'nginx.conf'),
    `daemon off; master_process off; user root; pid ${folder}/nginx.pid; error_log stderr warn; events { worker_connections 256; }
http { log_format seen '$request_method $request_uri xfcc=$http_x_forwarded_client_cert'; access_log ${folder}/seen.log seen; underscores_in_headers on; default_type text/plain;
  client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  server { listen 127.0.0.1:${nginxPort}; location / { return 200 $request_uri; } } }\n`,
  )
  fs.writeFileSync(path.join(folder, 'server.py'), PYTHON)
  const nginx = start(t, findDebianProgram('nginx'), ['-p', folder, '-c', path.join(folder, 'nginx.conf')])
  const go = start(t, goProgram('framing', GO), [`127.0.0.1:${goPort}`])
  const python = start(t, 'python3', [path.join(folder, 'server.py'), String(pythonPort)])
  for (const [running, at] of [
    [nginx, nginxPort],
    [go, goPort],
    [python, pythonPort],
  ] as const)
    await running.listening(at)
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(home, adminPort, `listeners: [{name: in, kind: http, port: ${port}, routes: in}]\n`),
  )
  writeResources(agent.folder, [
    staticCluster('nginx', nginxPort),
    staticCluster('go', goPort),
    staticCluster('python', pythonPort),
    hostRoutes('in', { 'nginx.test': 'nginx', 'go.test': 'go', 'python.test': 'python' }),
  ])
  await agent.start()
  const lines = (text: string): string[] => text.split('\n').filter((line) => line.includes('xfcc='))
  return {
    port,
    seen: (endpoint) =>
      endpoint === 'nginx'
        ? lines(fs.readFileSync(path.join(folder, 'seen.log'), 'utf8'))
        : lines(endpoint === 'go' ? go.log : python.log),
  }
}

/** What an HTTP/1.1 client gets until nothing more comes. */
function raw(bytes: string, quietMs = 250): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(site.port, '127.0.0.1')
    let text = ''
    const over = (): void => {
      clearTimeout(quiet)
      socket.destroy()
      resolve(text)
    }
    const quiet = setTimeout(over, 3_000)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      clearTimeout(quiet)
      setTimeout(over, quietMs)
    })
    socket.on('error', over)
    socket.on('close', over)
    socket.write(bytes, 'latin1')
  })
}

async function http2(
  host: string,
  at: string,
  { fields = [], body, trailers }: (typeof HTTP2)[string],
): Promise<number> {
  const client = new RawH2(site.port)
  const head: Fields = [[':method', 'POST'], [':scheme', 'http'], [':authority', host], [':path', at], ...fields]
  client.socket.write(
    Buffer.concat([
      headers(1, head, body === undefined),
      ...(body === undefined ? [] : [frame(0, trailers ? 0 : 1, 1, Buffer.from(body, 'latin1'))]),
      ...(trailers ? [headers(1, trailers, true)] : []),
    ]),
  )
  await client.until((f) => f.stream === 1 && (f.type === 3 || (f.type <= 1 && (f.flags & 1) === 1)))
  const heads = client.heard.filter((f) => f.type === 1 && f.stream === 1).length
  client.close()
  return heads
}

let count = 0
/** One attack and, on the same pools, three requests of somebody else. */
async function attacked(endpoint: (typeof ENDPOINTS)[number], attack: (at: string) => Promise<void>): Promise<void> {
  const before = site.seen(endpoint).length
  const at = `/attack-${++count}`
  await attack(at)
  for (let i = 0; i < 3; i++) {
    const own = `/own-${count}-${i}`
    const text = await raw(`GET ${own} HTTP/1.1\r\nHost: ${endpoint}.test\r\nConnection: close\r\n\r\n`)
    assert.match(text, /^HTTP\/1\.1 200 /)
    assert.ok(text.includes(`\r\n\r\n`) && text.slice(text.indexOf('\r\n\r\n')).includes(own), text)
  }
  const seen = site.seen(endpoint).slice(before)
  assert.deepEqual(
    seen.filter((line) => line.includes('evil') || line.includes('denied')),
    [],
  )
  assert.ok(seen.filter((line) => line.includes(at)).length <= 1, seen.join('\n'))
  assert.equal(seen.filter((line) => !line.includes(at) && !line.includes(`/own-${count}-`)).length, 0, seen.join('\n'))
}

for (const endpoint of ENDPOINTS) {
  for (const [name, [method, fields, rest]] of Object.entries(HTTP1)) {
    test(`${endpoint}, HTTP/1.1: ${name}`, () =>
      attacked(endpoint, async (at) => {
        const text = await raw(`${method} ${at} HTTP/1.1\r\nHost: ${endpoint}.test\r\n${fields}\r\n${rest}`)
        const answers = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)]
          .map(([, status]) => Number(status))
          .filter((status) => status >= 200)
        // What follows a complete request on a connection that goes on is a request of its own, which is refused or not
        // there.
        assert.equal(answers.length, 1, text)
      }))
  }
  for (const [name, ask] of Object.entries(HTTP2)) {
    test(`${endpoint}, HTTP/2: ${name}`, () =>
      attacked(endpoint, async (at) => {
        assert.ok((await http2(`${endpoint}.test`, at, ask)) <= 2)
      }))
  }
}
