/**
 * Each row of the table of conditions: nothing is told of an agent that is well, and one thing of one that is not
 * (test/rules/catalogue.test.ts wants a case for each).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { CONDITIONS, findProblems } from '../../../agent/admin/conditions.ts'
import { loadConfig } from '../../../agent/config/load.ts'
import { Current } from '../../../core/current.ts'
import { MeshError } from '../../../core/errors.ts'
import type { StatusParts } from '../../../agent/admin/status-parts.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { listener, tcpChain } from '../../protocols/downstream/data-path-rig.ts'

const loaded = loadConfig('control: {address: "a:1", roots: /r}\nstate: /s')
const config = loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
const loadedRoute = loadConfig(
  'control: {address: "a:1", roots: /r}\nstate: /s\nlisteners: [{name: t, kind: tcp, port: 0, cluster: nowhere}]',
)
const withRoute = loadedRoute.ok ? loadedRoute.config : assert.fail(JSON.stringify(loadedRoute.problems))
const clock = new SimClock()
const err = (code: MeshError['code'], text = 'why'): MeshError => new MeshError(code, text)
const known = { ...EMPTY_TABLES, cluster: () => ({ name: 'broker' }) } as unknown as Tables
const bridge = (over: {
  readonly state?: string
  readonly queued?: number
  readonly error?: string
  readonly failedMs?: number
  readonly refusedFilters?: readonly string[]
  readonly hosts?: readonly object[]
}): object => {
  const one = { cluster: 'broker', state: 'connected', queued: 0, sent: 0, received: 0, error: undefined, ...over }
  return { status: () => [one], unreached: () => (over.failedMs === undefined ? [] : [one]) }
}

/** An agent that is well. */
const WELL = {
  config,
  clock,
  own: [],
  inherited: undefined,
  dns: undefined,
  workload: undefined,
  node: {},
  tables: new Current(known),
  files: { problems: () => [] },
  readiness: { ready: true },
  budget: { pressure: { ownBytes: 0, limitBytes: 0 }, isFull: false },
  reloader: { error: undefined, needsRestart: [] },
  adminError: () => undefined,
  freeBytes: () => 1e12,
  hasFile: () => true,
  identity: { problems: () => [], current: () => ({}), setAside: undefined },
  configuration: {
    needsIdentity: true,
    link: () => ({ mode: 'control plane', error: undefined, held: undefined, lastContactMs: clock.monotonicMs() }),
    folderProblems: () => [],
    damage: [],
    applier: {
      storageError: undefined,
      rejected: [],
      contactAtMs: undefined,
      dangling: () => [],
      referenced: () => new Set(),
      snapshot: { resources: { secret: new Map([['kubernetes://there', {}]]) } },
    },
  },
  dataPath: { listeners: () => [{ error: undefined }] },
  broker: { clones: () => [], userProblems: () => [] },
  acls: { problems: () => [] },
  remoteKeys: { problems: () => [] },
  upstreams: { clusterStatus: () => [] },
  bridge: bridge({}),
  spool: { stats: { bytes: 0, maxBytes: 10, messages: 0 }, error: undefined, setAside: undefined },
}
type Over = { [K in keyof typeof WELL]?: unknown }
const parts = (over: Over): StatusParts => ({ ...WELL, ...over }) as unknown as StatusParts
const link = (over: object, applier: object = {}): object => ({
  ...WELL.configuration,
  applier: { ...WELL.configuration.applier, ...applier },
  link: () => ({ ...WELL.configuration.link(), ...over }),
})
const blocked = {
  ...known,
  listeners: new Map([['one', listener([tcpChain({ codec: { kind: 'blocked', reason: 'an unknown filter' } })])]]),
} as unknown as Tables

/** @param said what `meshlet status` says when it holds */
function condition(name: string, over: Over, said: RegExp): void {
  test(`condition ${name}`, () => {
    const row = CONDITIONS.find((c) => c.name === name) ?? assert.fail(`there is no condition ${name}`)
    assert.deepEqual(findProblems(parts({}), [row]), [], 'of an agent that is well')
    const told = findProblems(parts(over))
    assert.deepEqual(
      told.map((p) => p.code),
      findProblems(parts(over), [row]).map((p) => p.code),
      'nothing else is told of it',
    )
    assert.match(`${told[0]?.code} ${told[0]?.text}`, said)
    assert.ok(told[0]!.remedy.length > 0)
    assert.ok((row.codes as readonly string[]).includes(told[0]!.code), `${told[0]!.code} stands in the table`)
  })
}

test('an agent that is well: nothing is wrong', () => assert.deepEqual(findProblems(parts({})), []))

condition(
  'identity',
  { identity: { ...WELL.identity, problems: () => [err('MESH_CLOCK_WRONG', 'the clock is behind')] } },
  /^MESH_CLOCK_WRONG the clock is behind$/,
)
condition(
  'no-certificate',
  { identity: { ...WELL.identity, current: () => undefined } },
  /^MESH_NO_IDENTITY there is no certificate yet$/,
)
condition(
  'reload-refused',
  { reloader: { error: err('MESH_CONFIG_INVALID', 'line 3'), needsRestart: [] } },
  /^MESH_CONFIG_INVALID line 3$/,
)
condition(
  'restart-needed',
  { reloader: { error: undefined, needsRestart: ['admin.port', 'state'] } },
  /^MESH_CONFIG_RESTART changed, and not in force: admin.port, state$/,
)
condition(
  'link-down',
  {
    configuration: link({
      error: err('MESH_CONTROL_UNREACHABLE', 'refused'),
      lastContactMs: clock.monotonicMs() - 720_000,
    }),
  },
  /^MESH_CONTROL_UNREACHABLE refused; a control plane was last heard of 12 min ago$/,
)
condition(
  'no-address',
  { configuration: link({ error: err('MESH_NO_ADDRESS', 'no address yet'), lastContactMs: undefined }) },
  /^MESH_NO_ADDRESS no address yet$/,
)
condition(
  'mqtt-users',
  { broker: { ...WELL.broker, userProblems: () => [err('MESH_MQTT_USERS_FILE', 'line 3 is wrong')] } },
  /^MESH_MQTT_USERS_FILE line 3 is wrong$/,
)
condition(
  'issuer-keys',
  { remoteKeys: { problems: () => [err('MESH_JWKS_UNAVAILABLE', 'the keys of a: no answer')] } },
  /^MESH_JWKS_UNAVAILABLE the keys of a: no answer$/,
)
condition(
  'clusters-held',
  { configuration: link({ held: { clusters: 9, of: 10, untilMs: clock.monotonicMs() + 5_000 } }) },
  /^MESH_CONTROL_SHRUNK .*9 of 10.* 5 s$/,
)
condition(
  'configuration-not-stored',
  { configuration: link({}, { storageError: err('MESH_STORAGE_FULL', 'full') }) },
  /^MESH_STORAGE_FULL full$/,
)
condition(
  'spool-failing',
  { spool: { ...WELL.spool, error: err('MESH_STORAGE_FAILED', 'disk I/O error') } },
  /^MESH_STORAGE_FAILED the spool could not write.*disk I\/O error$/,
)
condition(
  'state-gone',
  { hasFile: (file: string) => file === '/s' },
  /^MESH_STATE_UNUSABLE spool\.db and snapshot\.db of the state directory \/s are gone/,
)
condition('disk-low', { freeBytes: () => 1 }, /^MESH_STORAGE_FULL the disk of \/s has less/)
condition(
  'spool-full',
  { spool: { ...WELL.spool, stats: { bytes: 10, maxBytes: 10, messages: 3 } } },
  /^MESH_MQTT_QUOTA the spool holds 3 messages/,
)
condition(
  'memory-full',
  { budget: { pressure: { ownBytes: 180 * 2 ** 20, limitBytes: 256 * 2 ** 20 }, isFull: true } },
  /^MESH_MEMORY_FULL 180 of 256 MiB are the process's own/,
)
condition('capture', { config: { ...config, capture: 'redirect' } }, /^MESH_CAPTURE_UNAVAILABLE capture: redirect/)
condition(
  'socket-unused',
  { inherited: { has: () => false, unused: () => ['no listener has the address'] } },
  /^MESH_SOCKET_UNUSED no listener/,
)
condition(
  'exposed',
  {
    own: [
      listener([{ ...tcpChain(), codec: { kind: 'mqtt', mqtt: config.mqtt } as never }], {
        address: '0.0.0.0',
        port: 1883,
      }),
    ],
  },
  /^MESH_LISTENER_OPEN/,
)
condition(
  'listener-failed',
  { dataPath: { listeners: () => [{ error: err('MESH_ADDRESS_MISSING', 'the port of listener far') }] } },
  /^MESH_ADDRESS_MISSING the port of listener far$/,
)
condition(
  'listener-files',
  { dataPath: { listeners: () => [{ error: err('MESH_LISTENER_TLS', 'listeners.m.tls: there is no file /x') }] } },
  /^MESH_LISTENER_TLS listeners\.m\.tls: there is no file \/x$/,
)
condition(
  'listener-shadowed',
  {
    own: [listener([tcpChain()], { name: 'one' })],
    tables: new Current({
      ...known,
      listeners: new Map([['one', listener([tcpChain()], { name: 'one', port: 9 })]]),
    } as unknown as Tables),
  },
  /^MESH_CONFIG_REJECTED the pushed listener one on .*:9 is not served: agent\.yaml has a listener of that name/,
)
condition(
  'admin-failed',
  { adminError: () => err('MESH_PORT_IN_USE', 'the admin port') },
  /^MESH_PORT_IN_USE the admin port$/,
)
condition(
  'dns',
  { dns: { status: () => ({ problems: [err('MESH_DNS_UPSTREAM', 'no resolver')] }) } },
  /^MESH_DNS_UPSTREAM no resolver$/,
)
condition(
  'workload',
  { workload: { what: 'http://x', health: { get: () => ({ state: 'unhealthy', reason: '503' }) } } },
  /^MESH_PROBE_FAILED the workload at http:\/\/x: 503$/,
)
const asked = (hasFailed: boolean, reason?: string) => ({
  address: '10.0.0.1',
  port: 80,
  check: { hasFailed, isPending: false, reason },
})
condition(
  'endpoints-unhealthy',
  {
    upstreams: {
      clusterStatus: () => [
        { name: 'one', endpoints: [asked(true, 'the status is 503'), asked(true)] },
        { name: 'half', endpoints: [asked(true), asked(false)] },
        { name: 'nobody', endpoints: [] },
        { name: 'unasked', endpoints: [{ address: '10.0.0.1', port: 80 }] },
      ],
    },
  },
  /^MESH_PROBE_FAILED cluster one: none of its 2 endpoints answers as its health check wants it; 10\.0\.0\.1:80: the status is 503$/,
)
condition(
  'upstream-broker-down',
  { bridge: bridge({ state: 'waiting', queued: 7, error: 'ECONNREFUSED', failedMs: clock.monotonicMs() - 5_000 }) },
  /^MESH_MQTT_UPSTREAM_DOWN the upstream broker broker is not reached for 5 s \(ECONNREFUSED\); 7 messages wait$/,
)
condition(
  'upstream-broker-refuses',
  { bridge: bridge({ state: 'refused', error: 'not authorized' }) },
  /^MESH_MQTT_UPSTREAM_REFUSED broker: not authorized$/,
)
condition(
  'primary-host-offline',
  {
    bridge: bridge({
      hosts: [
        { hostId: 'scada', state: 'offline', awaySec: 720, held: 7 },
        { hostId: 'other', state: 'offline', awaySec: 29, held: 7 },
        { hostId: 'third', state: 'online', held: 0 },
      ],
    }),
  },
  /^MESH_MQTT_HOST_OFFLINE the Primary Host Application scada is offline at the upstream broker broker, and was not online for 12 min; 7 messages wait$/,
)
condition(
  'client-id-cloned',
  { broker: { ...WELL.broker, clones: () => [{ clientId: 'pump-1', times: 4 }] } },
  /^MESH_MQTT_TAKEN_OVER the MQTT client id "pump-1" was taken over 4 times/,
)
condition(
  'resource-refused',
  {
    configuration: link(
      {},
      {
        rejected: [{ kind: 'cluster', name: 'c', issues: [{ path: 'lb_policy', problem: 'is odd' }], blocked: false }],
      },
    ),
  },
  /^MESH_CONFIG_REJECTED cluster c: lb_policy: is odd$/,
)
condition(
  'name-unknown',
  { config: withRoute, tables: new Current({ ...EMPTY_TABLES, cluster: () => undefined } as unknown as Tables) },
  /^MESH_NO_CLUSTER agent\.yaml listeners\.t names the cluster nowhere/,
)
condition(
  'named-file',
  { files: { problems: () => [err('MESH_CONFIG_REJECTED', 'roots.pem cannot be read')] } },
  /^MESH_CONFIG_REJECTED roots\.pem/,
)
condition(
  'secret-missing',
  {
    configuration: link({}, { referenced: () => new Set(['kubernetes://there', 'kubernetes://web']) }),
  },
  /^MESH_TLS_SECRET the secret kubernetes:\/\/web has not come/,
)
condition(
  'acl-file',
  { acls: { problems: () => [err('MESH_MQTT_ACL_FILE', '/etc/acl line 3: it is wrong')] } },
  /^MESH_MQTT_ACL_FILE \/etc\/acl line 3/,
)
condition(
  'chain-blocked',
  { tables: new Current(blocked) },
  /^MESH_CHAIN_BLOCKED listener one refuses what comes: an unknown filter$/,
)
condition(
  'folder',
  {
    configuration: {
      ...WELL.configuration,
      folderProblems: () => [err('MESH_CONFIG_INVALID', 'there is no readable folder')],
    },
  },
  /^MESH_CONFIG_INVALID there is no readable folder$/,
)
condition(
  'reference-dangling',
  { configuration: link({}, { dangling: () => [{ holder: { kind: 'route', name: 'r' }, name: 'c' }] }) },
  /^MESH_NO_CLUSTER route r names the cluster c/,
)
condition(
  'damage',
  { spool: { ...WELL.spool, setAside: '/s/spool.db.damaged-1' } },
  /^MESH_STORAGE_DAMAGED .*spool\.db\.damaged-1$/,
)

test('what we show is accepted by nobody: the operator reads why and what to do, whichever of the two requests is answered first', () => {
  const why = (what: string): MeshError =>
    err(
      'MESH_CONTROL_UNAUTHENTICATED',
      `a:1 does not accept who we are for ${what}: TLS alert "unknown ca"; it was shown the certificate of spiffe://x`,
    )
  const byStream = {
    configuration: link({ error: why('the configuration stream'), lastContactMs: clock.monotonicMs() - 5_000 }),
  }
  const byCa = { identity: { ...WELL.identity, problems: () => [why('the certificate')] } }
  const told = [byStream, byCa, { ...byStream, ...byCa }].map((over) => findProblems(parts(over)))
  assert.deepEqual(
    told.map((problems) => problems.length),
    [1, 1, 2],
  )
  for (const { code, text, remedy } of told.flat()) {
    assert.equal(code, 'MESH_CONTROL_UNAUTHENTICATED')
    assert.match(
      text,
      /^a:1 does not accept who we are for the (certificate|configuration stream): TLS alert "unknown ca"; it was shown the certificate of spiffe:\/\/x(; a control plane was last heard of 5 s ago)?$/,
    )
    assert.match(remedy, /control\.token/)
  }
})
test('what cannot be looked at is told, and hides nothing else', () => {
  const throwing = parts({
    identity: {
      ...WELL.identity,
      problems: () => {
        throw new TypeError('row of undefined')
      },
    },
    freeBytes: () => 1,
  })
  assert.deepEqual(
    findProblems(throwing).map((p) => `${p.code} ${p.text}`.slice(0, 90)),
    [
      'MESH_INTERNAL the condition identity cannot be looked at: row of undefined',
      'MESH_STORAGE_FULL the disk of /s has less than 33554432 bytes free (mqtt.spool.minDiskFree',
    ],
  )
  // Something that is no MeshError among problems took the whole page along.
  const foreign = parts({
    identity: {
      ...WELL.identity,
      problems: () => [Object.assign(new Error('EACCES'), { code: 'EACCES' }) as unknown as MeshError],
    },
  })
  assert.deepEqual(
    findProblems(foreign).map((p) => p.code),
    ['MESH_INTERNAL'],
  )
})
test('the same thing is told once, and twenty of a kind are enough', () => {
  const many = parts({
    dataPath: {
      listeners: () => Array.from({ length: 50 }, (_, i) => ({ error: err('MESH_PORT_IN_USE', `port ${i >> 1}`) })),
    },
  })
  assert.equal(findProblems(many).length, 10)
})
test('a broker whose cluster nobody has sent is told as that, one that has just begun to be missed as nothing', () => {
  const since = (ms: number): object =>
    bridge({ state: 'waiting', error: 'ECONNREFUSED', failedMs: clock.monotonicMs() - ms })
  assert.deepEqual(findProblems(parts({ bridge: bridge({ state: 'connecting' }) })), [])
  assert.deepEqual(findProblems(parts({ bridge: since(29_999) })), [])
  assert.deepEqual(
    findProblems(parts({ bridge: since(30_000) })).map((p) => p.code),
    ['MESH_MQTT_UPSTREAM_DOWN'],
  )
  const none = new Current({ ...EMPTY_TABLES, cluster: () => undefined } as unknown as Tables)
  assert.deepEqual(findProblems(parts({ tables: none, bridge: since(60_000) })), [])
})

test('a broker that refuses subscriptions is connected, and told', () => {
  const refusing = bridge({ state: 'connected', refusedFilters: ['a/#', 'b/#', 'c', 'd'] })
  assert.deepEqual(
    findProblems(parts({ bridge: refusing })).map(({ code, text }) => `${code} ${text}`),
    ['MESH_MQTT_UPSTREAM_REFUSED broker refuses the subscription of a/#, b/#, c and 1 others'],
  )
})
