/**
 * `npm run bench` as somebody types it: its usage, and that no peer and no case is missing from what it prints. Figures
 * of one second are not looked at.
 */
import { test, type TestContext } from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import type { Row } from '../bench/bench.ts'

const MAIN = path.resolve(import.meta.dirname, '../bench/main.ts')
const KEYS = ['bench', 'case', 'subject', 'cpuUs', 'perSecond', 'p50Ms', 'p99Ms', 'rssMiB']
const BUNDLE = path.resolve(import.meta.dirname, '../../dist/meshlet.cjs')

function bench(...args: string[]): { status: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    timeout: 400_000,
  })
  return { status, out: stdout, err: stderr }
}

test('--help tells what there is; anything that is not known is wrong usage, with nothing on standard output', () => {
  const help = bench('--help')
  assert.equal(help.status, 0)
  for (const name of [
    'http',
    'mqtt',
    'idle',
    'start',
    'sync',
    'kill',
    'churn',
    'h1-codec',
    'h1-proxy',
    'mqtt-codec',
    'spool',
  ])
    assert.match(help.out, new RegExp(`^${name}: `, 'm'))
  assert.match(bench('kill', '--help').out, /--kills/)
  for (const wrong of [
    [],
    ['nothing'],
    ['http', 'mqtt'],
    ['http', '--fast'],
    ['http', '--only', 'apache'],
    ['mqtt', '--case', 'qos3'],
    ['http', '--seconds', '0'],
    ['http', '--kills', '5'],
    ['kill', '--kills', '1e3'],
  ]) {
    const { status, out, err } = bench(...wrong)
    assert.deepEqual([status, out], [2, ''], `${wrong.join(' ')}: ${err}`)
    assert.notEqual(err, '')
  }
})

test('http: meshlet, nginx, haproxy, Envoy, both as sidecars, and another bundle, plain and with mTLS on both sides', (t) => {
  const subjects = ['meshlet', 'meshlet-sidecar', 'nginx', 'haproxy', 'envoy', 'envoy-sidecar', 'copy', 'before']
  assert.deepEqual(
    rows(t, 'http', ['cpuSpread'], '--before', BUNDLE),
    ['plain', 'mtls'].flatMap((c) => subjects.map((s) => `${c} ${s}`)),
  )
})
test('mqtt: meshlet and mosquitto, QoS 0, 1 and 2, by turns', (t) => {
  const cases = ['qos0', 'qos1', 'qos1-durable-w1', 'qos1-offline', 'qos2', 'qos2-durable', 'fan-in']
  assert.deepEqual(rows(t, 'mqtt', ['cpuSpread'], '--case', cases.join(',')), [
    ...cases.flatMap((c) => ['meshlet', 'mosquitto'].map((s) => `${c} ${s}`)),
    'fan-in sockets',
  ])
})

/** Case and subject of each line, after a look at the line. */
function rows(t: TestContext, name: string, more: readonly string[] = [], ...args: string[]): string[] {
  const { status, out, err } = bench(name, '--seconds', '1', '--json', ...args)
  assert.equal(status, 0, err)
  return out
    .trim()
    .split('\n')
    .map((line) => {
      t.diagnostic(line)
      const row = JSON.parse(line) as Row
      assert.deepEqual(Object.keys(row), [...KEYS, ...more])
      assert.equal(row.bench, name)
      for (const key of ['cpuUs', 'perSecond', 'p50Ms', 'p99Ms', 'rssMiB'] as const)
        assert.ok(typeof row[key] === 'number' && row[key] > 0, `${line}: ${key}`)
      assert.ok(row.p50Ms! <= row.p99Ms!, line)
      return `${row.case} ${row.subject}`
    })
}
