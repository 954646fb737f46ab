import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readNodeSettings } from '../../../agent/control-sync-settings.ts'
import { loadConfig } from '../../../agent/config/load.ts'
import { describeNode, type NodeDescription } from '../../../control-sync/ads/node.ts'

const metadata = (yaml: string): Record<string, unknown> => {
  const loaded = loadConfig(`directory: d\n${yaml}`)
  assert.ok(loaded.ok)
  return describeNode(readNodeSettings(loaded.config, { version: '1', hostName: 'h', ip: '10.0.0.1' })).metadata
}

test('only a node that serves DNS asks istiod for addresses of services that have none', () => {
  const on = metadata('dns: {}\n')
  assert.deepEqual([on['DNS_CAPTURE'], on['DNS_AUTO_ALLOCATE']], ['true', 'true'])
  const off = metadata('')
  assert.deepEqual(['DNS_CAPTURE' in off, 'DNS_AUTO_ALLOCATE' in off], [false, false])
  assert.equal(
    metadata('dns: {}\nnode: {metadata: {DNS_AUTO_ALLOCATE: "false"}}\n')['DNS_AUTO_ALLOCATE'],
    'false',
    'a person may say otherwise',
  )
})

test('a gateway is a router with the same metadata, but for how connections are captured', () => {
  const described = (yaml: string): NodeDescription => {
    const loaded = loadConfig(`directory: d\n${yaml}`)
    assert.ok(loaded.ok)
    return describeNode(readNodeSettings(loaded.config, { version: '1', hostName: 'h', ip: '10.0.0.1' }))
  }
  const proxy = 'listeners: [{name: p, kind: http_proxy, port: 15080}]\n'
  const [gateway, sidecar] = [described(`node: {type: router}\n${proxy}`), described('')]
  assert.equal(gateway.id, 'router~10.0.0.1~h.default~default.svc.cluster.local')
  const { INTERCEPTION_MODE: mode, ...rest } = sidecar.metadata
  assert.deepEqual([mode, gateway.metadata], ['NONE', rest])
})
