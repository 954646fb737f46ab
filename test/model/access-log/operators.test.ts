import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { LogFacts } from '../../../model/access-log/facts.ts'
import { makeOperator, type LogValue } from '../../../model/access-log/operators.ts'
import type { PeerIdentity } from '../../../model/identity.ts'
import { factsOf } from '../access-log-facts.ts'

const PEER: PeerIdentity = {
  spiffeId: undefined,
  uriSans: ['spiffe://a/x', 'spiffe://a/y'],
  dnsSans: ['a.test'],
  subject: 'CN=ü',
  sha256: 'ab',
  notAfterMs: Date.UTC(2027, 0, 1),
}
const TIMES = {
  DS_RX_BEG: 0,
  DS_RX_END: 1.9,
  US_CX_BEG: 2,
  US_TX_BEG: 3.5,
  US_TX_END: 4,
  US_RX_BEG: 7.25,
  DS_TX_END: 12.9,
}

for (const [operator, facts, want] of [
  ['ACCESS_LOG_TYPE', factsOf(), 'DownstreamEnd'],
  ['BYTES_RECEIVED', factsOf({ receivedBytes: 3 }), 3],
  ['CONNECTION_ID', factsOf(), 46],
  ['DOWNSTREAM_DIRECT_REMOTE_ADDRESS', factsOf(), '[2001:db8::1]:5'],
  ['DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT', factsOf(), '2001:db8::1'],
  ['DOWNSTREAM_REMOTE_ADDRESS', factsOf(), '10.0.0.9:0'],
  ['DOWNSTREAM_PEER_URI_SAN', factsOf({ peer: PEER }), 'spiffe://a/x,spiffe://a/y'],
  ['DOWNSTREAM_PEER_SUBJECT', factsOf({ peer: PEER }), 'CN=\u00c3\u00bc'],
  ['DOWNSTREAM_PEER_CERT_V_END', factsOf({ peer: PEER }), '2027-01-01T00:00:00.000Z'],
  ['UPSTREAM_PEER_DNS_SAN', factsOf({ upstreamPeer: PEER }), 'a.test'],
  ['UPSTREAM_PEER_DNS_SAN', factsOf(), undefined],
  ['DURATION', factsOf({ times: TIMES }), 12],
  ['DURATION', factsOf(), undefined],
  ['REQUEST_DURATION', factsOf({ times: TIMES }), 1],
  ['REQUEST_TX_DURATION', factsOf({ times: TIMES }), 4],
  ['RESPONSE_DURATION', factsOf({ times: TIMES }), 7],
  ['RESPONSE_TX_DURATION', factsOf({ times: TIMES }), 5],
  ['UPSTREAM_CONNECTION_POOL_READY_DURATION', factsOf({ times: TIMES }), 1],
  ['COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)', factsOf({ times: TIMES }), 12_900],
  ['COMMON_DURATION(US_TX_BEG:US_RX_BEG)', factsOf({ times: TIMES }), 3],
  ['COMMON_DURATION(US_RX_END:DS_TX_END:ns)', factsOf({ times: TIMES }), undefined],
  ['START_TIME', factsOf(), '2026-01-02T03:04:05.006Z'],
  ['START_TIME(%Y/%m/%dT%H:%M:%S %3f %s)', factsOf(), '2026/01/02T03:04:05 006 1767323045'],
  ['START_TIME(%Y-%m-%dT%H:%M:%E3SZ)', factsOf(), '2026-01-02T03:04:05.006Z'],
  ['EMIT_TIME', factsOf(), '2026-01-02T03:04:06.000Z'],
  ['RESPONSE_FLAGS', factsOf(), '-'],
  ['RESPONSE_FLAGS', factsOf({ flags: ['URX', 'UF'] }), 'URX,UF'],
  ['RESPONSE_FLAGS_LONG', factsOf({ flags: ['URX', 'UF'] }), 'UpstreamRetryLimitExceeded,UpstreamConnectionFailure'],
  ['GRPC_STATUS', factsOf({ grpcStatus: 5 }), 'NotFound'],
  ['GRPC_STATUS(SNAKE_STRING)', factsOf({ grpcStatus: 1 }), 'CANCELLED'],
  ['GRPC_STATUS(NUMBER)', factsOf({ grpcStatus: 99 }), 99],
  ['GRPC_STATUS', factsOf({ grpcStatus: 99 }), '99'],
  ['REQ(X-A?:PATH)', factsOf({ fields: { ':path': '/p' } }), '/p'],
  ['REQ(X-A?:PATH)', factsOf({ fields: { ':path': '/p', 'x-a': 'v' } }), 'v'],
  ['REQ_WITHOUT_QUERY(X-A?:PATH)', factsOf({ fields: { ':path': '/p?q' } }), '/p'],
  ['RESP(X-A)', factsOf({ answer: { 'x-a': 'v' } }), 'v'],
  ['TRAILER(X-A)', factsOf({ trailers: { 'x-a': 'v' } }), 'v'],
  ['DYNAMIC_METADATA(f:a:b)', factsOf({ metadata: { f: { a: { b: [1, 'é'] } } } }), [1, 'é']],
  ['DYNAMIC_METADATA(f:a)', factsOf({ metadata: { f: { a: 'é' } } }), '\u00c3\u00a9'],
  ['DYNAMIC_METADATA(f:constructor)', factsOf({ metadata: { f: {} } }), undefined],
  ['FILTER_STATE(a:PLAIN)', factsOf(), undefined],
  ['QUERY_PARAM(b)', factsOf({ fields: { ':path': '/p?a=1&b=2=3' } }), '2=3'],
  ['QUERY_PARAM(c)', factsOf({ fields: { ':path': '/p?a=1' } }), undefined],
  ['PATH(NQ)', factsOf({ fields: { ':path': '/p?a', 'x-envoy-original-path': '/o?b' } }), '/o'],
  ['PATH(WQ:PATH)', factsOf({ fields: { ':path': '/p?a', 'x-envoy-original-path': '/o?b' } }), '/p?a'],
  ['UPSTREAM_HOST_NAME', factsOf({ upstream: { host: '10.0.0.2', port: 8 } }), '10.0.0.2:8'],
  ['UPSTREAM_REMOTE_ADDRESS', factsOf({ upstream: { host: '10.0.0.2', port: 8 } }), undefined],
] as const satisfies readonly (readonly [string, LogFacts, LogValue])[])
  test(`%${operator}%`, () => {
    const [, name, argument] = /^(\w+)(?:\((.*)\))?$/.exec(operator)!
    assert.deepEqual(makeOperator(name!, argument)?.(facts), want)
  })

for (const [name, argument] of [
  ['NOTHING', undefined],
  ['constructor', undefined],
  ['constructor', 'x'],
  ['REQ', undefined],
  ['REQ', ''],
  ['REQ', 'a?b?c'],
  ['REQ', 'a\nb'],
  ['RESPONSE_CODE', 'x'],
  ['GRPC_STATUS', 'LONG'],
  ['COMMON_DURATION', 'DS_RX_BEG'],
  ['COMMON_DURATION', 'DS_RX_BEG:constructor'],
  ['COMMON_DURATION', 'DS_RX_BEG:DS_TX_END:constructor'],
  ['COMMON_DURATION', 'DS_RX_BEG:DS_TX_END:ms:x'],
  ['START_TIME', '%Q'],
  ['PATH', 'XX'],
  ['QUERY_PARAM', ''],
  ['ENVIRONMENT', 'HOME'],
] as const)
  test(`%${name}(${JSON.stringify(argument)})% is no operator that is known`, () => {
    assert.equal(makeOperator(name, argument), undefined)
  })
