/** Kinds of resources that istiod sends beside Envoy's four: extensions (ECDS), names (NDS), trust bundles (PCDS). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { sample } from '../../helpers/control-plane/resources.ts'
import { httpListener, SyncedAgent } from '../../helpers/control-plane/synced-agent.ts'
import { testCa } from '../../helpers/test-ca.ts'
import { calm, mesh } from './quirk-rig.ts'

const rbac = (path: string): object => ({
  '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
  rules: {
    action: 'DENY',
    policies: { p: { permissions: [{ url_path: { path: { exact: path } } }], principals: [{ any: true }] } },
  },
})
const extension = (name: string, typed_config: object): ReturnType<typeof sample> =>
  sample(
    JSON.parse(JSON.stringify({ '@type': TYPE_URLS.extension, name, typed_config })) as Parameters<typeof sample>[0],
  )
const later = (name: string): object => ({
  name,
  config_discovery: {
    config_source: { ads: {} },
    type_urls: ['type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC'],
  },
})
const filtersOf = (agent: SyncedAgent, name: string): unknown[] => {
  const codec = agent.tables.get().listeners.get(name)?.filterChains[0]?.codec
  return codec?.kind === 'http' ? codec.http.filters.map((f) => f.kind) : []
}

test('a filter whose configuration comes by itself (ECDS) lets nobody in until it has come, and works when it has', async () => {
  const istiod = mesh()
  istiod.put(httpListener('in', '80', { direction: 'INBOUND', filters: [later('shop.policy')] }))
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport)
  await calm(agent)
  assert.deepEqual(
    transport.sent.filter((r) => r.kind === 'extension').map((r) => r.subscribe),
    [['shop.policy']],
  )
  assert.deepEqual([filtersOf(agent, 'in'), agent.synced], [['blocked'], false])
  await agent.clock.advance(15_000)
  assert.equal(agent.synced, true, 'it is waited for as Envoy does')
  istiod.put(extension('shop.policy', rbac('/secret')))
  istiod.pushAll()
  await calm(agent)
  const before = agent.tables.get().listeners.get('in')
  assert.deepEqual(filtersOf(agent, 'in'), ['rbac'])
  istiod.pushAll()
  await calm(agent)
  assert.equal(agent.tables.get().listeners.get('in'), before, 'nothing changed, no connection is disturbed')
  istiod.put(extension('shop.policy', rbac('/other')))
  istiod.pushAll()
  await calm(agent)
  assert.notEqual(agent.tables.get().listeners.get('in'), before)
})

test('ECDS is never removed by istiod: what no listener names any more is forgotten here', async () => {
  const istiod = mesh()
  istiod.put(
    httpListener('in', '80', { direction: 'INBOUND', filters: [later('shop.policy')] }),
    extension('shop.policy', rbac('/secret')),
  )
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  assert.deepEqual([agent.names('extension'), agent.synced], [['shop.policy'], true])
  istiod.put(httpListener('in', '80', { direction: 'INBOUND' }))
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual([agent.names('extension'), istiod.log], [[], []])
})

test('an extension with a mistake blocks the filter that it configures, as one of another type than the listener allows does', async () => {
  const istiod = mesh()
  istiod.put(
    httpListener('in', '80', { direction: 'INBOUND', filters: [later('shop.policy')] }),
    extension('shop.policy', rbac('/secret')),
  )
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  istiod.put(
    extension('shop.policy', {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault',
      abort: { http_status: 999, percentage: { numerator: 100 } },
    }),
  )
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual(
    [filtersOf(agent, 'in'), agent.applier.rejected.map((r) => `${r.kind} ${r.name}`)],
    [['blocked'], ['extension shop.policy']],
  )
  istiod.put(
    extension('shop.policy', { '@type': 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault' }),
  )
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual(filtersOf(agent, 'in'), ['blocked'])
})

test('names (NDS) are asked for only where DNS is served; a table of an earlier run serves until the control plane is heard of, and is gone then', async () => {
  const istiod = mesh()
  istiod.put({
    ...sample({ '@type': TYPE_URLS.nameTable, table: { 'a.shop.svc.cluster.local': { ips: ['240.240.0.1'] } } }),
    name: '',
  })
  await using served = new SyncedAgent(istiod.transport())
  await calm(served)
  await served[Symbol.asyncDispose]()
  assert.deepEqual([served.names('nameTable'), served.applier.heard.has('nameTable')], [[''], true])

  const transport = istiod.transport()
  await using off = new SyncedAgent(transport, { before: served, names: false })
  assert.equal(off.tables.get().names?.size, 1)
  await calm(off)
  assert.deepEqual(
    [off.synced, transport.sent.filter((r) => r.kind === 'nameTable'), off.names('nameTable'), off.tables.get().names],
    [true, [], [], undefined],
  )
  const { generation } = off.applier
  istiod.pushAll()
  await calm(off)
  assert.deepEqual([off.names('nameTable'), off.applier.generation], [[], generation], 'dropped once')
  await off[Symbol.asyncDispose]()

  await using again = new SyncedAgent(istiod.transport(), { before: off })
  assert.deepEqual(
    [again.tables.get().stale, again.applier.heard.has('cluster'), again.applier.heard.has('nameTable')],
    [true, true, false],
    'the first table is still to come',
  )
  await calm(again)
  assert.deepEqual([again.applier.heard.has('nameTable'), again.tables.get().names?.size], [true, 1])
})

test('trust bundles (PCDS) are asked for only when agent.yaml says so: istiod would show the kind as never sent', async () => {
  const istiod = mesh()
  const transport = istiod.transport()
  await using agent = new SyncedAgent(transport, { trustBundle: false })
  await calm(agent)
  assert.deepEqual([agent.synced, transport.sent.filter((r) => r.kind === 'proxyConfig')], [true, []])
})

test('trust bundles (PCDS) come only from an istiod with several roots; without one nothing is waited for', async () => {
  const istiod = mesh()
  await using agent = new SyncedAgent(istiod.transport())
  await calm(agent)
  assert.deepEqual([agent.synced, agent.names('proxyConfig')], [true, []])
  istiod.multiRoot = true
  const { rootsPem } = testCa()
  istiod.put({ ...sample({ '@type': TYPE_URLS.proxyConfig, ca_certificates_pem: [rootsPem] }), name: '' })
  istiod.pushAll()
  await calm(agent)
  assert.deepEqual(agent.names('proxyConfig'), [''])
  istiod.put({
    ...sample({ '@type': TYPE_URLS.proxyConfig, ca_certificates_pem: [rootsPem, 'no certificate'] }),
    name: '',
  })
  istiod.pushAll()
  await calm(agent)
  assert.match(istiod.log.at(-1) ?? '', /ca_certificates_pem\[1\]: is no certificate/)
})
