/**
 * An endpoint that takes one stream at a time, and many requests at once: over the first connection Envoy and meshlet learn
 * it, and no fewer may come through then than through Envoy.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import http2 from 'node:http2'
import { portOf } from '../../../helpers/raw-h2.ts'
import { clusterTo, httpTo, startBoth, type } from './both.ts'

const REQUESTS = 8
const OPTIONS = {
  typed_extension_protocol_options: {
    'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
      '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
}

/** Refuses more than one (RFC 9113 §5.1.2). */
async function startNarrow(t: TestContext): Promise<number> {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 1 } })
  server.on('session', (session) => {
    session.on('error', () => {})
    t.after(() => session.destroy())
  })
  server.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200 })
    stream.end('hi')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return portOf(server)
}
async function countOk(port: number): Promise<number> {
  const asked = Array.from({ length: REQUESTS }, async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/`)
    await answer.text()
    return answer.status
  })
  return (await Promise.all(asked)).filter((status) => status === 200).length
}

test('many requests to an endpoint that takes one at a time', async (t) => {
  const port = await startNarrow(t)
  const retry = { retry_policy: { retry_on: 'refused-stream', num_retries: 2 } }
  const ports = await startBoth(
    t,
    [clusterTo('a', [['127.0.0.1', port]], OPTIONS), clusterTo('b', [['127.0.0.1', port]], OPTIONS)],
    {
      plain: httpTo('a'),
      retried: httpTo('b', [], retry),
    },
  )
  for (const name of ['plain', 'retried']) {
    // How many come through at first is a matter of what arrives together.
    await countOk(ports[name]!.theirs)
    await countOk(ports[name]!.ours)
    const [theirs, ours] = [await countOk(ports[name]!.theirs), await countOk(ports[name]!.ours)]
    assert.ok(ours >= theirs, `${name}: ${ours} of ${REQUESTS}, Envoy ${theirs}`)
    assert.equal(ours, REQUESTS)
  }
})
