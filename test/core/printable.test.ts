import { test } from 'node:test'
import assert from 'node:assert/strict'
import { formatClusters } from '../../agent/admin/clusters-page.ts'
import { escapeForTerminal, toPrintable, toPrintableAll } from '../../core/printable.ts'
import { formatStatus } from '../../agent/admin/status-text.ts'
import type { AgentStatus } from '../../agent/admin/status.ts'
import { formatTable } from '../../hub/cli/table.ts'

/** Clears the screen, forges a line, rings, turns the direction, C1's way to begin a sequence. */
const EVIL = 'a\u001b[2J\nNothing is wrong.\u0007\u202e\u009b31m\u007f\r\u2028z'
const SAFE = 'a\\u001b[2J\\u000aNothing is wrong.\\u0007\\u202e\\u009b31m\\u007f\\u000d\\u2028z'
const obeyed = (text: string): string[] => text.split('').filter((c) => c !== '\n' && toPrintable(c) !== c)

test('what a terminal would obey is written as what it is', () => {
  assert.equal(toPrintable(EVIL), SAFE)
  assert.equal(toPrintable('Grüße, 世界 · ok'), 'Grüße, 世界 · ok')
  assert.equal(escapeForTerminal('one\n\ttwo\u001b\n'), 'one\n\ttwo\\u001b\n')
  assert.equal((JSON.parse(escapeForTerminal(JSON.stringify({ a: '\u009b' }))) as { a: string }).a, '\u009b')
  assert.deepEqual(toPrintableAll({ [EVIL]: [EVIL, 1, null, undefined, { b: EVIL }] }), {
    [SAFE]: [SAFE, 1, null, undefined, { b: SAFE }],
  })
})
test('a cluster with such a name makes no line of its own in /clusters', () => {
  const text = formatClusters([
    {
      name: EVIL,
      activeRequests: 0,
      pendingRequests: 0,
      connections: 0,
      endpoints: [
        {
          address: EVIL,
          port: 1,
          priority: 0,
          weight: 1,
          health: 'healthy',
          ejected: false,
          activeRequests: 0,
          connections: 0,
          tunnel: EVIL,
        },
      ],
    },
  ])
  assert.deepEqual(obeyed(text), [])
  assert.ok(
    text
      .split('\n')
      .filter((l) => l !== '')
      .every((l) => l.startsWith(`${SAFE}::`)),
    text,
  )
})
test('no text of a status makes a line of its own, whoever wrote it', () => {
  const status: AgentStatus = {
    version: '1',
    node: EVIL,
    state: 'ready',
    waitingFor: [EVIL],
    uptimeSec: 1,
    control: {
      mode: 'ads',
      address: EVIL,
      link: 'connected',
      sinceSec: 1,
      lastContactSec: 1,
      connections: 1,
      bytes: [{ purpose: EVIL, sent: 1, received: 1 }],
    },
    certificate: { spiffeId: EVIL, expiresInSec: 1, renewalInSec: 1, serial: EVIL, notAfter: '' },
    config: {
      generation: 1,
      stale: false,
      ageSec: 1,
      changedSec: {},
      resources: { [EVIL]: 1 },
      rejected: [],
      ignoredFields: 0,
      ignored: [],
      skipped: [{ what: EVIL, resources: 2, example: EVIL }],
    },
    workload: undefined,
    listeners: [{ name: EVIL, address: EVIL, state: 'failed', connections: 0, error: EVIL }],
    dns: undefined,
    keys: [{ url: EVIL, keys: 1, ageSec: 1, error: EVIL }],
    http: { requests: 0, retriesSent: 0, retriesHeldBack: 0, denied: 0 },
    mqtt: { connections: 0, sessions: 0, retained: 0 },
    spool: { profile: EVIL, messages: 0, bytes: 0, maxBytes: 1 },
    bridge: [{ cluster: EVIL, state: EVIL, queued: 0, sent: 0, received: 0, error: EVIL }],
    problems: [{ code: 'MESH_X', text: EVIL, remedy: EVIL }],
  } as unknown as AgentStatus
  const text = formatStatus(status)
  assert.deepEqual(obeyed(text), [])
  assert.doesNotMatch(text, /^Nothing is wrong/m)
})
test("nor does a cell of the hub's tables", () => {
  const text = formatTable(['NAME'], [[EVIL]])
  assert.deepEqual([obeyed(text), text.split('\n').length], [[], 3])
})
