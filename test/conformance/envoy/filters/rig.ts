/** Envoy and meshlet with the same HTTP filter, asked the same one request after the other. */
import type http from 'node:http'
import type { TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import type { JsonObject } from '@bufbuild/protobuf'
import { decode } from '../../../../control-sync/decode/decode.ts'
import type { Cluster } from '../../../../model/cluster.ts'
import type { HttpConnectionManager } from '../../../../model/listener.ts'
import { freePorts } from '../../../../tools/free-ports.ts'
import { sample } from '../../../helpers/control-plane/resources.ts'
import { serveHttp } from '../../../helpers/serve-http.ts'
import { askAt, Both, type Ask, type Codec, type Seen, type Told } from '../../../protocols/http/both.ts'
import { startStaticEnvoy } from '../envoy.ts'
import { staticCluster } from '../../package/shipped.ts'
import { listenerWith } from '../listener-with.ts'

export const type = (name: string): string => `type.googleapis.com/envoy.${name}`

/** One listener. @param asks are made in this order, of each of the two */
export type Row = {
  readonly name: string
  readonly filters: readonly JsonObject[]
  readonly table?: JsonObject
  readonly host?: JsonObject
  readonly route?: JsonObject
  readonly asks: readonly Ask[]
  readonly only?: Codec
}
export type Compared = { readonly told: Omit<Told, 'saw'>; readonly saw: Seen | undefined }

function listenerOf(row: Row, port: number, more: JsonObject = {}): JsonObject {
  const router = {
    name: 'envoy.filters.http.router',
    typed_config: { '@type': type('extensions.filters.http.router.v3.Router') },
  }
  const forward =
    row.route && ('redirect' in row.route || 'direct_response' in row.route) ? {} : { route: { cluster: 'origin' } }
  const route = { match: { prefix: '/' }, ...forward, ...row.route }
  return listenerWith(
    { name: row.name, port },
    {
      ...more,
      http_filters: [...row.filters, router],
      route_config: {
        name: 'r',
        virtual_hosts: [{ name: 'v', domains: ['*'], routes: [route], ...row.host }],
        ...row.table,
      },
    },
  )
}
function managerOf(row: Row): HttpConnectionManager {
  const decoded = decode('listener', sample(listenerOf(row, 80)).bytes)
  assert.ok(decoded.ok)
  assert.deepEqual([decoded.ignored, decoded.blocked], [[], []], row.name)
  const { codec } = decoded.value.filterChains[0]!
  assert.ok(codec.kind === 'http')
  return codec.http
}

type Options = {
  /** Beside the origin, for Envoy and for us. */
  readonly clusters?: readonly { readonly envoy: object; readonly ours: Cluster }[]
  readonly facts: (seen: Compared) => unknown
  /** Of the endpoint; left out: `hi`. */
  readonly answer?: http.RequestListener
}

export async function compareRows(t: TestContext, rows: readonly Row[], o: Options): Promise<void> {
  const seen: Seen[] = []
  const answer = o.answer ?? ((_request, response) => response.end('hi'))
  const originPort = await serveHttp(t, (request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1')
    })
    request.on('end', () => {
      seen.push({ method: request.method!, url: request.url!, headers: request.headers, body })
      answer(request, response)
    })
  })
  const codecs = ['http1', 'http2'] as const
  const cases = rows.flatMap((row) => codecs.filter((c) => (row.only ?? c) === c).map((codec) => ({ row, codec })))
  const ports = await freePorts(cases.length)
  const listeners = cases.map(({ row, codec }, i) =>
    listenerOf({ ...row, name: `${row.name} ${codec}` }, ports[i]!, { delayed_close_timeout: '0.02s' }),
  )
  const clusters = [staticCluster('origin', originPort), ...(o.clusters ?? []).map(({ envoy }) => envoy)]
  await startStaticEnvoy(t, { listeners, clusters }, ports.at(-1)!)
  const ours = (o.clusters ?? []).map((c) => c.ours)
  const different: unknown[] = []
  for (const [i, { row, codec }] of cases.entries()) {
    const both = await Both.start(t, managerOf(row), { answer, clusters: ours })
    for (const [no, ask] of row.asks.entries()) {
      const before = seen.length
      const told = await askAt(ports[i]!, codec, ask)
      const theirs = o.facts({ told, saw: seen[before] })
      const { saw, ...own } = await both.ask(codec, ask)
      const mine = o.facts({ told: own, saw })
      if (!isDeepStrictEqual(mine, theirs))
        different.push([`${row.name} over ${codec}, request ${no + 1}`, mine, theirs])
    }
  }
  assert.deepEqual(different, [])
}
