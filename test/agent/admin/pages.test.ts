import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createAdminPages, type AdminParts } from '../../../agent/admin/pages.ts'
import type { AdminReply } from '../../../agent/admin/server.ts'
import type { AgentStatus } from '../../../agent/admin/status.ts'
import { Current } from '../../../core/current.ts'
import { createLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { TestBroker } from '../../helpers/mqtt/broker.ts'
import { EMPTY_TABLES } from '../../../model/tables.ts'

const status = {
  version: '1.2.3',
  node: 'n',
  state: 'ready',
  waitingFor: [],
  uptimeSec: 1,
  control: {
    mode: 'control plane',
    address: 'a:1',
    link: 'waiting',
    sinceSec: 1,
    heldClusters: 0,
    lastContactSec: 9,
    rttMs: undefined,
    connections: 0,
    bytes: [],
  },
  certificate: {
    spiffeId: 'spiffe://a/b',
    serial: '0a',
    notAfter: '2026-01-02T00:00:00.000Z',
    expiresInSec: 2 * 86_400 + 5,
    renewalInSec: 1,
  },
  config: {
    generation: 7,
    stale: true,
    ageSec: 8,
    changedSec: { clusters: 11 },
    resources: {},
    rejected: [],
    ignoredFields: 0,
    ignored: [],
    skipped: [],
  },
  workload: undefined,
  listeners: [],
  dns: undefined,
  keys: [],
  http: { requests: 0, retriesSent: 0, retriesHeldBack: 0, denied: 0 },
  mqtt: { connections: 0, sessions: 0, retained: 0 },
  spool: {
    profile: 'strict',
    messages: 0,
    bytes: 0,
    maxBytes: 0,
    writtenBytes: undefined,
    writtenPerDay: undefined,
    damagedFiles: 0,
    damagedBytes: 0,
  },
  bridge: [],
  problems: [],
} as const satisfies AgentStatus

type Over = { readonly ready?: boolean; readonly draining?: boolean; readonly status?: Partial<AgentStatus> }
function rig(o: Over = {}) {
  const stops: string[] = []
  const log = createLog('info', { write: () => {} })
  const metrics = new Metrics()
  metrics.counter('mesh_things_total', 'Things.', ['kind']).cell({ kind: 'a b' }).value = 3
  const pages = createAdminPages({
    status: () => ({ ...status, ...o.status }),
    stop: (reason: string) => {
      stops.push(reason)
    },
    isDraining: () => o.draining ?? false,
    readiness: { ready: o.ready ?? true, pending: ['a certificate', 'ports'] },
    metrics,
    log,
    tables: new Current(EMPTY_TABLES),
    upstreams: { clusterStatus: () => [] },
    broker: new TestBroker().broker,
  } as unknown as AdminParts)
  const ask = async (path: string): Promise<AdminReply> => {
    const url = new URL(path, 'http://a')
    return await pages.get(url.pathname)!.handle(url.searchParams)
  }
  const body = async (path: string): Promise<string> => String((await ask(path)).body)
  return { pages, ask, body, stops, log }
}

test('what changes something is POST, what only shows is GET', () => {
  const methods = [...rig().pages].map(([path, { method }]) => `${method} ${path}`)
  assert.deepEqual(methods, [
    'GET /ready',
    'GET /live',
    'GET /status',
    'GET /config_dump',
    'GET /clusters',
    'GET /certs',
    'GET /stats',
    'GET /stats/prometheus',
    'POST /reload',
    'POST /logging',
    'GET /mqtt/clients',
    'GET /mqtt/sessions',
    'GET /mqtt/queues',
    'GET /mqtt/retained',
    'POST /mqtt/kick',
    'POST /mqtt/purge',
    'POST /drain',
    'POST /quitquitquit',
    'GET /mqtt/setaside',
    'POST /mqtt/setaside/purge',
    'POST /mqtt/setaside/requeue',
    'GET /',
  ])
})

test('/ready: LIVE, or 503 with what is missing; one that drains takes no more, ready or not', async () => {
  assert.deepEqual(await rig().ask('/ready'), { body: 'LIVE\n' })
  assert.deepEqual(await rig({ ready: false }).ask('/ready'), {
    status: 503,
    body: 'PRE_INITIALIZING: waiting for a certificate, ports\n',
  })
  assert.deepEqual(await rig({ draining: true }).ask('/ready'), { status: 503, body: 'DRAINING\n' })
})

test('/ready?detail adds how old everything is, whatever the answer', async () => {
  const detail =
    'link: waiting\nlast contact: 9 s\nconfiguration: generation 7, stale, changed 8 s\nclusters: changed 11 s\ncertificate: 172805 s left\n'
  assert.equal(await rig().body('/ready?detail'), `LIVE\n${detail}`)
  assert.equal(await rig({ draining: true }).body('/ready?detail'), `DRAINING\n${detail}`)
  const never = {
    certificate: undefined,
    control: { ...status.control, lastContactSec: undefined, rttMs: undefined, connections: 0, bytes: [] },
    config: { ...status.config, stale: false, ageSec: undefined, changedSec: {} },
  }
  assert.equal(
    await rig({ status: never }).body('/ready?detail'),
    'LIVE\nlink: waiting\nlast contact: never\nconfiguration: generation 7, changed never\ncertificate: none\n',
  )
})

test('/status is JSON, or text for a person', async () => {
  const { ask, body } = rig()
  const { type } = await ask('/status')
  assert.equal(type, 'application/json')
  assert.equal((JSON.parse(await body('/status')) as AgentStatus).config.generation, 7)
  assert.match(await body('/status?format=text'), /^meshlet 1\.2\.3 · n · ready/)
})

test('/certs has the shape of Envoy; a certificate that is over has no days left', async () => {
  const certificates = async (certificate: AgentStatus['certificate']): Promise<unknown> =>
    (JSON.parse(await rig({ status: { certificate } }).body('/certs')) as { certificates: unknown }).certificates
  const chain = {
    path: '<inline>',
    serial_number: '0a',
    subject_alt_names: [{ uri: 'spiffe://a/b' }],
    expiration_time: '2026-01-02T00:00:00.000Z',
  }
  assert.deepEqual(await certificates(status.certificate), [{ cert_chain: [{ ...chain, days_until_expiration: '2' }] }])
  assert.deepEqual(await certificates({ ...status.certificate, expiresInSec: -90_000 }), [
    { cert_chain: [{ ...chain, days_until_expiration: '0' }] },
  ])
  assert.deepEqual(await certificates(undefined), [])
})

test('/stats is one counter a line in the form of Envoy, /stats/prometheus what Prometheus reads', async () => {
  const { ask, body } = rig()
  assert.match(await body('/stats'), /^mesh_things_total\{kind="a b"\}: 3\n$/)
  const { type } = await ask('/stats/prometheus')
  assert.match(String(type), /^text\/plain; version=0\.0\.4/)
  assert.match(await body('/stats/prometheus'), /# TYPE mesh_things_total counter\nmesh_things_total\{kind="a b"\} 3\n/)
})

test("/logging sets the level, in pino's words or Envoy's, and refuses what is none", async () => {
  const { ask, log } = rig()
  for (const [asked, level] of [
    ['debug', 'debug'],
    ['warning', 'warn'],
    ['critical', 'fatal'],
    ['off', 'silent'],
  ] as const) {
    assert.deepEqual(await ask(`/logging?level=${asked}`), { body: `level: ${level}\n` })
    assert.equal(log.level, level)
  }
  for (const query of ['', '?level=', '?level=loud', '?level=constructor']) {
    const { status: code, body } = await ask(`/logging${query}`)
    assert.equal(code, 400, query)
    assert.match(String(body), /use \?level= with one of fatal, error, .*; it is silent/)
  }
  assert.equal(log.level, 'silent')
})

test('/drain answers first, and asks for the end once', async () => {
  const { ask, stops } = rig()
  assert.deepEqual(await ask('/drain'), { body: 'draining\n' })
  assert.deepEqual(stops, ['drain'])
  assert.deepEqual(await ask('/quitquitquit'), { body: 'OK\n' })
  assert.deepEqual(stops, ['drain', 'quitquitquit'])
})

test('the first page tells the status and every other page', async () => {
  const { body, pages } = rig()
  const text = await body('/')
  assert.match(text, /^meshlet 1\.2\.3/)
  for (const path of pages.keys()) assert.ok(text.includes(` ${path} `), path)
})

test('/clusters is text, or JSON', async () => {
  const { ask, body } = rig()
  assert.equal(await body('/clusters'), '')
  assert.equal((await ask('/clusters?format=json')).type, 'application/json')
  assert.deepEqual(JSON.parse(await body('/clusters?format=json')), { cluster_statuses: [] })
})
