/**
 * h2spec (github.com/summerwind/h2spec) with its strict cases against the shipped bundle, in clear and over TLS; a case
 * that fails is named.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { benchCertificates } from '../bench/certificates.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { h2specProgram } from './peers.ts'
import { serveHttp } from '../helpers/serve-http.ts'
import { run, temporaryFolder } from './programs.ts'
import { Agent, directoryMode, hostRoutes, staticCluster, writeResources } from './package/shipped.ts'

const CASES = 146

/** One that speaks HTTP/2 only: where meshlet has to find out, bytes that are no preface are HTTP/1's to refuse. */
const listener = (port: number): object => ({
  '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
  name: 'clear',
  address: { socket_address: { address: '127.0.0.1', port_value: port } },
  filter_chains: [
    {
      filters: [
        {
          name: 'envoy.filters.network.http_connection_manager',
          typed_config: {
            '@type':
              'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
            codec_type: 'HTTP2',
            stat_prefix: 'clear',
            rds: { route_config_name: 'in', config_source: { ads: {} } },
            http_filters: [
              {
                name: 'envoy.filters.http.router',
                typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
              },
            ],
          },
        },
      ],
    },
  ],
})

test(`h2spec -S: ${CASES} of ${CASES}, in clear and over TLS`, { timeout: 600_000 }, async (t) => {
  const program = h2specProgram()
  const folder = temporaryFolder(t)
  const certificates = benchCertificates(folder)
  const originPort = await serveHttp(t, (req, res) => {
    req.resume().on('end', () => {
      res.end('some content, so that there is DATA\n')
    })
  })
  const [clear, secure] = (await freePorts(2)) as [number, number]
  const agent = await Agent.create(t, (home, adminPort) =>
    directoryMode(
      home,
      adminPort,
      `listeners:
- {name: secure, kind: http, port: ${secure}, routes: in, tls: {mode: server, chain: ${certificates.origin.chain}, key: ${certificates.origin.key}}}
`,
    ),
  )
  writeResources(agent.folder, [
    listener(clear),
    staticCluster('origin', originPort),
    hostRoutes('in', { '*': 'origin' }),
  ])
  await agent.start()

  for (const [name, args] of [
    ['in clear', ['-p', String(clear)]],
    ['over TLS', ['-p', String(secure), '-t', '-k']],
  ] as const) {
    await t.test(name, async () => {
      const report = path.join(folder, `${name}.xml`)
      const { out, err } = await run(program, ['-S', '-j', report, ...args], { timeoutMs: 300_000 })
      assert.deepEqual(
        failures(fs.existsSync(report) ? fs.readFileSync(report, 'utf8') : ''),
        [],
        `${out.slice(-3000)}${err}`,
      )
      assert.match(out, new RegExp(`^${CASES} tests, ${CASES} passed, 0 skipped, 0 failed$`, 'm'))
      assert.equal((await agent.get('/live'))?.status, 200)
    })
  }
})

/** Of a report of JUnit's form: `package: case`. */
function failures(xml: string): string[] {
  return [...xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>\s*<(?:failure|error)/g)].map(
    ([, section, title]) => `${section}: ${title}`,
  )
}
