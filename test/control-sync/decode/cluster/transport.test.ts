/** Transport sockets of clusters: PROXY headers before whatever else is spoken. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { JsonObject } from '@bufbuild/protobuf'
import type { Transport } from '../../../../model/cluster.ts'
import { decode } from '../../../../control-sync/decode/decode.ts'
import { issuesOf, sample } from '../../../helpers/control-plane/resources.ts'

const SOCKETS = 'type.googleapis.com/envoy.extensions.transport_sockets'
const PROXY = 'proxy_protocol.v3.ProxyProtocolUpstreamTransport'
const socket = (type: string, more: JsonObject = {}): JsonObject => ({
  name: 's',
  typed_config: { '@type': `${SOCKETS}.${type}`, ...more },
})
const CLEAR = socket('raw_buffer.v3.RawBuffer')
const run = (config: JsonObject, inner: JsonObject | undefined = CLEAR): ReturnType<typeof decode<'cluster'>> =>
  decode(
    'cluster',
    sample({
      '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
      name: 'c',
      transport_socket: socket(PROXY, { config, ...(inner && { transport_socket: inner }) }),
    }).bytes,
  )
function transport(config: JsonObject, inner?: JsonObject): Transport {
  const decoded = run(config, inner)
  assert.ok(decoded.ok, JSON.stringify(decoded))
  return decoded.value.transport
}
const problem = (config: JsonObject, inner?: JsonObject): string => issuesOf(run(config, inner))[0]?.problem ?? ''

test('a PROXY header: its version, whose TLVs go on, and those that are added', () => {
  assert.deepEqual(transport({}), {
    kind: 'plaintext',
    header: { version: 1, passes: new Set(), added: [] },
  })
  assert.deepEqual(
    transport({
      version: 'V2',
      pass_through_tlvs: { match_type: 'INCLUDE', tlv_type: [5, 234] },
      added_tlvs: [{ type: 240, value: Buffer.from('site').toString('base64') }],
    }),
    {
      kind: 'plaintext',
      header: { version: 2, passes: new Set([5, 234]), added: [{ type: 240, value: Buffer.from('site') }] },
    },
  )
  const all = transport({ version: 'V2', pass_through_tlvs: {} })
  assert.ok(all.kind === 'plaintext' && all.header?.passes === 'all')
})
test('a PROXY header before TLS', () => {
  const made = transport({}, socket('tls.v3.UpstreamTlsContext', { sni: 'a.test' }))
  assert.deepEqual([made.kind, made.kind === 'tls' && made.header?.version], ['tls', 1])
})
test('what no header can say is refused, and so is a header within a header', () => {
  assert.match(problem({ version: 'V2', added_tlvs: [{ type: 256, value: 'eA==' }] }), /above 255/)
  assert.match(problem({ version: 'V2', pass_through_tlvs: { match_type: 'INCLUDE', tlv_type: [999] } }), /above 255/)
  assert.match(problem({ added_tlvs: [{ type: 1, value: Buffer.alloc(1025).toString('base64') }] }), /1024/)
  assert.match(problem({}, socket(PROXY, { transport_socket: CLEAR })), /twice/)
})
test('without a socket of its own a header leads nowhere', () => {
  const decoded = decode(
    'cluster',
    sample({
      '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
      name: 'c',
      transport_socket: socket(PROXY),
    }).bytes,
  )
  assert.match(issuesOf(decoded)[0]?.problem ?? '', /missing/)
})
