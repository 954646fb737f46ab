import { test } from 'node:test'
import assert from 'node:assert/strict'
import { selectResolve } from '../../agent/dns.ts'
import type { AgentConfig } from '../../agent/config/schema.ts'

const disk = { read: (file: string) => (file === '/etc/hosts' ? Buffer.from('192.0.2.9 a.test\n') : undefined) }
const settings = (upstreams: NonNullable<AgentConfig['dns']>['upstreams']): Pick<AgentConfig, 'dns'> => ({
  dns: { upstreams, attemptMs: 1_000 } as AgentConfig['dns'],
})

test('names of endpoints are asked of the system, unless dns.upstreams are set', () => {
  assert.equal(selectResolve({}, disk), undefined)
  assert.equal(selectResolve(settings(undefined), disk), undefined)
  assert.equal(selectResolve(settings([]), disk), undefined)
})
test('with dns.upstreams /etc/hosts still counts', async () =>
  assert.deepEqual(await selectResolve(settings([{ host: '127.0.0.1', port: 9 }]), disk)!('a.test', 0), ['192.0.2.9']))
