/** Lines about connections: of the listener for all of them, of a TCP proxy for its own. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { MeshError } from '../../../core/errors.ts'
import { ANY_CONNECTION } from '../../../model/listener.ts'
import { ENDED } from '../../../protocols/connection.ts'
import { settle } from '../../helpers/sim-clock.ts'
import { jsonLog } from '../access-lines.ts'
import { denyFrom, listener, rig, tables, tcpChain, type Rig } from '../downstream/data-path-rig.ts'

const FORMAT = {
  type: '%ACCESS_LOG_TYPE%',
  flags: '%RESPONSE_FLAGS%',
  cluster: '%UPSTREAM_CLUSTER%',
  host: '%UPSTREAM_HOST%',
  from: '%UPSTREAM_LOCAL_ADDRESS%',
  bytes: '%BYTES_RECEIVED% %BYTES_SENT%',
  ms: '%DURATION%',
  client: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%',
  why: '%CONNECTION_TERMINATION_DETAILS%',
  failure: '%UPSTREAM_TRANSPORT_FAILURE_REASON%',
  code: '%RESPONSE_CODE%',
  request: '%REQ(:METHOD)% %PROTOCOL% %RESPONSE_CODE_DETAILS%',
}
const LOG = jsonLog(FORMAT)
const NONE = {
  flags: '-',
  cluster: null,
  host: null,
  from: null,
  bytes: '0 0',
  ms: 0,
  why: null,
  failure: null,
  code: 0,
  request: '- - -',
}
const logged = tcpChain({ codec: { kind: 'tcp', tcp: { clusters: [], idleMs: undefined, accessLogs: [LOG] } } })
const start = (chain = logged): Promise<Rig> => rig(tables(listener([chain], { accessLogs: [LOG] })))

test('a connection that a TCP proxy has carried', async () => {
  const r = await start()
  await r.dial('10.0.0.9')
  const { conn, end } = r.served[0]!
  conn.cluster = 'c'
  conn.receivedBytes = 3
  conn.sentBytes = 4
  conn.upstream = {
    endpoint: { address: '10.0.0.2', port: 8, weight: 1, health: 'healthy', transportLabels: {}, workload: undefined },
    local: { host: '10.0.0.1', port: 7 },
  }
  await r.clock.advance(1_500)
  end(ENDED)
  await settle()
  const want = {
    ...NONE,
    cluster: 'c',
    host: '10.0.0.2:8',
    from: '10.0.0.1:7',
    bytes: '3 4',
    ms: 1_500,
    client: '10.0.0.9',
  }
  assert.deepEqual(r.lines.parsed.map(sorted), [
    sorted({ ...want, type: 'TcpConnectionEnd' }),
    sorted({ ...want, type: 'NotSet' }),
  ])
})
test('a clock that is set meanwhile changes nothing of how long it took', async () => {
  const r = await start()
  await r.dial('10.0.0.9')
  r.clock.setWallMs(0)
  await r.clock.advance(1_500)
  r.served[0]!.end(ENDED)
  await settle()
  assert.deepEqual(
    r.lines.parsed.map((line) => line['ms']),
    [1_500, 1_500],
  )
})
test('a connection that the endpoint refuses', async () => {
  const r = await start()
  await r.dial('10.0.0.9')
  const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
  r.served[0]!.end({ error: new MeshError('MESH_CONNECT_FAILED', 'no connection', { cause }) })
  await settle()
  const [line] = r.lines.parsed
  assert.deepEqual([line?.['flags'], line?.['failure']], ['UF', 'delayed_connect_error:_Connection_refused'])
})
test('a connection that a policy refuses names the rule', async () => {
  const r = await start({ ...logged, policies: [denyFrom('10.0.0.9')] })
  await r.dial('10.0.0.9')
  await settle()
  assert.deepEqual(
    r.lines.parsed.map((line) => [line['type'], line['why'], line['flags']]),
    [
      ['TcpConnectionEnd', 'rbac_access_denied_matched_policy[no-entry]', '-'],
      ['NotSet', 'rbac_access_denied_matched_policy[no-entry]', '-'],
    ],
  )
})
test('a connection that no chain takes is a line of the listener alone, with NR', async () => {
  const r = await start({ ...logged, match: { ...ANY_CONNECTION, destinationPort: 1 } })
  await r.dial('10.0.0.9')
  await settle()
  assert.deepEqual(r.lines.parsed.map(sorted), [sorted({ ...NONE, type: 'NotSet', flags: 'NR', client: '10.0.0.9' })])
})

const sorted = (line: object): object => Object.fromEntries(Object.entries(line).sort(([a], [b]) => (a < b ? -1 : 1)))
