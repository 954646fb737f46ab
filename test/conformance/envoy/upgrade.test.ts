/**
 * Envoy and the shipped bundle with the same listener, asked the same: which upgrades they pass on and what they answer
 * to the others.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { freePorts } from '../../../tools/free-ports.ts'
import { startStaticEnvoy } from './envoy.ts'
import type { Finally } from '../programs.ts'
import { Agent, directoryMode, staticCluster, writeResources } from '../package/shipped.ts'

const type = (name: string): string => `type.googleapis.com/envoy.${name}`
const websocket = (enabled: boolean): object => ({ upgrade_configs: [{ upgrade_type: 'websocket', enabled }] })
function listener(name: string, port: number, more: object): object {
  const to = (match: object, action: object): object => ({ match, ...action })
  return {
    '@type': type('config.listener.v3.Listener'),
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [
      {
        filters: [
          {
            name: 'hcm',
            typed_config: {
              '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
              stat_prefix: name,
              ...more,
              http_filters: [
                {
                  name: 'envoy.filters.http.router',
                  typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
                },
              ],
              route_config: {
                name,
                virtual_hosts: [
                  {
                    name: 'v',
                    domains: ['*'],
                    routes: [
                      to({ path: '/direct' }, { direct_response: { status: 200, body: { inline_string: 'direct' } } }),
                      to({ path: '/redirect' }, { redirect: { host_redirect: 'x' } }),
                      to({ path: '/permits' }, { route: { cluster: 'origin', ...websocket(true) } }),
                      to({ path: '/forbids' }, { route: { cluster: 'origin', ...websocket(false) } }),
                      to({ path: '/says-nothing' }, { route: { cluster: 'origin' } }),
                    ],
                  },
                ],
              },
            },
          },
        ],
      },
    ],
  }
}

/** Answers with 200 and says in a header which upgrade it was asked for. */
async function startOrigin(t: Finally): Promise<number> {
  const server = net
    .createServer((socket) => {
      socket.on('error', () => {
        /* the asker goes away */
      })
      socket.on('data', (bytes: Buffer) => {
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-asked: ${/^upgrade: (.*)\r$/im.exec(bytes.toString())?.[1] ?? 'nothing'}\r\n\r\n`,
        )
      })
    })
    .listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.close()
  })
  return (server.address() as net.AddressInfo).port
}

type Told = { readonly status: string; readonly asked: string | undefined; readonly closes: boolean }
async function ask(port: number, url: string, lines: readonly string[]): Promise<Told> {
  const socket = net.connect(port, '127.0.0.1')
  socket.write(`GET ${url} HTTP/1.1\r\nHost: a.test\r\n${lines.map((l) => `${l}\r\n`).join('')}\r\n`)
  let text = ''
  for await (const bytes of socket) {
    text += String(bytes)
    if (text.includes('\r\n\r\n')) break
  }
  return {
    status: text.slice(9, 12),
    asked: /^x-asked: (.*)\r$/im.exec(text)?.[1],
    closes: /^connection: close\r$/im.test(text),
  }
}

const wants = (upgrade: string): string[] => ['Connection: Upgrade', `Upgrade: ${upgrade}`]
const REQUESTS: Readonly<Record<string, readonly string[]>> = {
  websocket: wants('websocket'),
  'another protocol': wants('foo'),
  'one of two': wants('foo, websocket'),
  h2c: [...wants('h2c'), 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'],
  'Upgrade without Connection': ['Upgrade: websocket'],
  'Connection without Upgrade': ['Connection: Upgrade'],
}

test('upgrades', { timeout: 120_000 }, async (t) => {
  const origin = await startOrigin(t)
  const ports = await freePorts(4)
  const listeners = (from: number): object[] => [
    listener('plain', ports[from]!, {}),
    listener('permitting', ports[from + 1]!, websocket(true)),
  ]
  const agent = await Agent.create(t, (home, adminPort) => directoryMode(home, adminPort, ''))
  writeResources(agent.folder, [staticCluster('origin', origin), ...listeners(0)])
  await agent.start()
  const clusters = [staticCluster('origin', origin)]
  await startStaticEnvoy(t, { listeners: listeners(2), clusters }, ports[3]!)

  for (const [i, name] of ['a listener that permits none', 'a listener that permits websocket'].entries()) {
    for (const url of ['/says-nothing', '/permits', '/forbids', '/direct', '/redirect', '/nowhere']) {
      await t.test(`${name}, ${url}: the same from both`, async () => {
        for (const [what, lines] of Object.entries(REQUESTS)) {
          const [ours, theirs] = [await ask(ports[i]!, url, lines), await ask(ports[i + 2]!, url, lines)]
          assert.deepEqual(ours, theirs, what)
        }
      })
    }
  }
  await t.test(
    'on purpose not the same: an offer of TLS (RFC 2817) does not keep the request from being served',
    async () => {
      const [ours, theirs] = [
        await ask(ports[0]!, '/says-nothing', wants('TLS/1.2')),
        await ask(ports[2]!, '/says-nothing', wants('TLS/1.2')),
      ]
      assert.deepEqual([ours, theirs.status], [{ status: '200', asked: 'nothing', closes: false }, '403'])
    },
  )
})
