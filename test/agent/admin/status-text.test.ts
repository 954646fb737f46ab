import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { AgentStatus } from '../../../agent/admin/status.ts'
import { formatSpan, formatStatus } from '../../../agent/admin/status-text.ts'

const BUSY: AgentStatus = {
  version: '1.2.3',
  node: 'router~10.0.0.7~edge.default~default.svc.cluster.local',
  state: 'ready',
  waitingFor: [],
  uptimeSec: 200_000,
  control: {
    mode: 'control plane',
    address: 'istiod:15012',
    link: 'waiting',
    sinceSec: 720,
    heldClusters: 0,
    lastContactSec: 700,
    rttMs: undefined,
    connections: 0,
    bytes: [],
  },
  certificate: {
    spiffeId: 'spiffe://cluster.local/ns/default/sa/edge',
    serial: '0a',
    notAfter: '2026-01-02T00:00:00.000Z',
    expiresInSec: 86_400,
    renewalInSec: 43_200,
  },
  config: {
    generation: 7,
    stale: true,
    ageSec: 30,
    changedSec: {},
    resources: { clusters: 3, listeners: 1 },
    rejected: [],
    ignoredFields: 0,
    ignored: [],
    skipped: [
      { what: 'requests are not mirrored (request_mirror_policies)', resources: 3, example: 'route a' },
      { what: 'no access log is written', resources: 1, example: 'listener b' },
    ],
  },
  workload: { probe: 'http 127.0.0.1:8080/', state: 'healthy', reason: undefined, sinceSec: 50, told: false },
  listeners: [
    { name: 'proxy', address: '127.0.0.1:15080', state: 'listening', connections: 2, error: undefined },
    { name: 'mqtt', address: '0.0.0.0:1883', state: 'failed', connections: 0, error: 'port 1883 is taken' },
  ],
  dns: { address: '127.0.0.1:15053', names: 12, cached: 4, upstreams: ['10.0.0.1:53', '[fd00::1]:53'] },
  keys: [
    { url: 'https://id.test/jwks', keys: 2, ageSec: 7_200, error: undefined },
    { url: 'https://away.test/jwks', keys: 1, ageSec: 700_000, error: 'no answer' },
    { url: 'https://new.test/jwks', keys: 0, ageSec: undefined, error: undefined },
  ],
  http: { requests: 10, retriesSent: 2, retriesHeldBack: 1, denied: 3 },
  mqtt: { connections: 5, sessions: 6, retained: 7 },
  spool: {
    profile: 'balanced',
    messages: 8,
    bytes: 9_999,
    maxBytes: 67_108_864,
    writtenBytes: 5_000_000,
    writtenPerDay: { bytes: 123_456_789, overSec: 7_200 },
    damagedFiles: 2,
    damagedBytes: 33_554_432,
  },
  bridge: [
    {
      cluster: 'cloud',
      state: 'connected',
      queued: 1,
      sent: 2,
      received: 3,
      setAside: 0,
      error: undefined,
      hosts: [
        { hostId: 'scada', state: 'online', awaySec: undefined, held: 0 },
        { hostId: 'mes', state: 'offline', awaySec: 720, held: 1 },
      ],
    },
    { cluster: 'other', state: 'refused', queued: 0, sent: 0, received: 0, setAside: 0, error: 'not authorized' },
  ],
  problems: [],
}
const FRESH: AgentStatus = {
  ...BUSY,
  state: 'starting',
  waitingFor: ['a certificate', 'a configuration'],
  uptimeSec: 3,
  control: {
    ...BUSY.control,
    link: 'connecting',
    sinceSec: 3,
    lastContactSec: undefined,
    rttMs: undefined,
    connections: 0,
    bytes: [],
  },
  certificate: undefined,
  config: { ...BUSY.config, generation: 0, stale: false, ageSec: undefined, resources: {}, skipped: [] },
  workload: undefined,
  listeners: [],
  dns: undefined,
  keys: [],
  spool: { ...BUSY.spool, writtenBytes: undefined, writtenPerDay: undefined, damagedFiles: 0 },
  bridge: [],
}

test('everything that there is to tell, one fact a line', () => {
  assert.equal(
    formatStatus(BUSY),
    `meshlet 1.2.3 · router~10.0.0.7~edge.default~default.svc.cluster.local · ready · up 2 d 7 h

link          control plane istiod:15012: waiting for 12 min, last contact 12 min ago
certificate   spiffe://cluster.local/ns/default/sa/edge, valid for 24 h, renewal in 12 h
configuration generation 7, from disk, not confirmed, changed 30 s ago
              3 clusters · 1 listeners
listener      proxy 127.0.0.1:15080 listening, 2 connections
listener      mqtt 0.0.0.0:1883 failed, 0 connections: port 1883 is taken
dns           127.0.0.1:15053, 12 names, 4 answers cached, others from 10.0.0.1:53, [fd00::1]:53
workload      http 127.0.0.1:8080/: healthy for 50 s, not told to the control plane
keys          https://id.test/jwks: 2, fetched 2 h ago
keys          https://away.test/jwks: 1, fetched 8 d 2 h ago; no answer
keys          https://new.test/jwks: none
http          10 requests, 2 safe retries, 1 held back, 3 denied
mqtt          5 clients, 6 sessions, 7 retained
spool         8 messages, 9999 B of 64 MiB, balanced
              2 damaged files beside it at the start, 32 MiB
              118 MiB a day to the disk with balanced, by the last 2 h
bridge        cloud: connected, 1 queued, 2 sent, 3 received; host scada online; host mes offline for 12 min, 1 held
bridge        other: refused, 0 queued, 0 sent, 0 received; not authorized
left out      requests are not mirrored (request_mirror_policies): route a and 2 more
              no access log is written: listener b

No problem, but not all that the configuration asks for is done: see "left out".
`,
  )
})

test('what is not there yet, or is not configured, has no line of its own', () => {
  assert.equal(
    formatStatus(FRESH),
    `meshlet 1.2.3 · ${BUSY.node} · starting (waiting for: a certificate, a configuration) · up 3 s

link          control plane istiod:15012: connecting for 3 s
certificate   none
configuration generation 0, nothing received yet
              no resources
http          10 requests, 2 safe retries, 1 held back, 3 denied
mqtt          5 clients, 6 sessions, 7 retained
spool         8 messages, 9999 B of 64 MiB, balanced

Nothing is wrong.
`,
  )
})

for (const [what, over, line] of [
  [
    'a link that is up has its contact now',
    { control: { ...BUSY.control, link: 'connected' } },
    'link          control plane istiod:15012: connected for 12 min',
  ],
  [
    'a certificate that is over, which nobody here renews',
    { certificate: { ...BUSY.certificate!, expiresInSec: -7_200, renewalInSec: undefined } },
    'certificate   spiffe://cluster.local/ns/default/sa/edge, expired 2 h ago',
  ],
  [
    'DNS before the first name table, without resolvers',
    { dns: { address: 'a:53', names: undefined, cached: 0, upstreams: [] } },
    'dns           a:53, no name table yet, 0 answers cached, no upstream resolver',
  ],
  [
    'a workload that the control plane hears of',
    { workload: { ...BUSY.workload!, told: true } },
    'workload      http 127.0.0.1:8080/: healthy for 50 s',
  ],
] as const satisfies readonly (readonly [string, Partial<AgentStatus>, string])[])
  test(what, () => {
    assert.ok(
      formatStatus({ ...BUSY, ...over })
        .split('\n')
        .includes(line),
    )
  })

test('problems stand last, each with what to do, and nothing else is concluded', () => {
  const problems = [
    { code: 'MESH_A', text: 'one', remedy: 'Do this.' },
    { code: 'MESH_B', text: 'two', remedy: 'Do that.' },
  ]
  assert.ok(formatStatus({ ...BUSY, problems }).endsWith('\n\n! MESH_A: one\n  Do this.\n! MESH_B: two\n  Do that.\n'))
  assert.doesNotMatch(formatStatus({ ...FRESH, problems }), /Nothing is wrong/)
})

test('a span of time has at most two units', () => {
  assert.deepEqual([0, 99, 100, 5_940, 6_000, 36_600, 172_799, 172_800, 277_200, -60].map(formatSpan), [
    '0 s',
    '99 s',
    '2 min',
    '99 min',
    '1 h 40 min',
    '10 h 10 min',
    '2 d',
    '2 d',
    '3 d 5 h',
    '60 s',
  ])
})
