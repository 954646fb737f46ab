import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { readIstioFile } from '../../../hub/istio/read/istio-file.ts'
import { ISTIO_TYPE_URL } from '../../../hub/istio/stored.ts'
import { IstioSource } from '../../../hub/source/istio-source.ts'
import {
  CLUSTER,
  hashContent,
  LISTENER,
  makeResourceSet,
  ROUTE,
  type HubResource,
  type NodeFacts,
  type ResourceSet,
  type Source,
} from '../../../hub/source/resources.ts'
import { BILLS, object, ORDERS } from '../istio/cases/case.ts'

const toHub = (typeUrl: string, name: string, value: Uint8Array): HubResource => ({
  name,
  typeUrl,
  value,
  version: hashContent(value),
})
function setOf(yaml: string, ...more: HubResource[]): ResourceSet {
  const { resources } = readIstioFile('a.yaml', yaml)!
  return makeResourceSet([...resources.map((r) => toHub(ISTIO_TYPE_URL, r.name, r.value)), ...more])
}
/** One set for all nodes. */
class OneSet implements Source {
  readonly #listeners = new Set<(next: ResourceSet) => void>()
  #set: ResourceSet
  constructor(set: ResourceSet) {
    this.#set = set
  }
  change(set: ResourceSet): void {
    this.#set = set
    for (const listener of this.#listeners) listener(set)
  }
  watch(_: string, onChange: (next: ResourceSet) => void) {
    this.#listeners.add(onChange)
    return { current: () => this.#set, ready: undefined, [Symbol.dispose]: () => void this.#listeners.delete(onChange) }
  }
}
const facts = (i: number, namespace = 'edge'): NodeFacts => ({
  id: `sidecar~10.0.${i >> 8}.${i & 255}~n-${i}.${namespace}~${namespace}.svc.cluster.local`,
  metadata: { INTERCEPTION_MODE: 'NONE', HTTP_PROXY_PORT: '3128' },
  namespace,
})
const names = (set: ResourceSet, typeUrl: string): string[] => [...(set.types.get(typeUrl)?.keys() ?? [])].sort()
const open = (set: ResourceSet) => {
  const files = new OneSet(set)
  return { files, source: new IstioSource(files, { trustDomain: 'demo.mesh' }) }
}

await suite('Istio YAML of the folder is compiled for each node', async () => {
  await test('clusters, listeners and routes come; the YAML itself does not', () => {
    const { source } = open(setOf(ORDERS))
    const set = source.watch('n', () => {}, facts(1)).current()
    assert.ok(names(set, CLUSTER).includes('outbound|80||orders.shop.svc.cluster.local'))
    assert.deepEqual(names(set, ROUTE), ['80', 'http_proxy'])
    assert.ok(names(set, LISTENER).length > 0)
    assert.deepEqual(names(set, ISTIO_TYPE_URL), [])
  })

  await test('clusters with EDS name what they wait for', () => {
    const { source } = open(setOf(ORDERS))
    const cluster = source
      .watch('n', () => {}, facts(1))
      .current()
      .types.get(CLUSTER)!
    const name = 'outbound|80||orders.shop.svc.cluster.local'
    assert.equal(cluster.get(name)!.endpoints, name)
    assert.equal(cluster.get('PassthroughCluster')!.endpoints, undefined)
  })

  await test('a resource of Envoy in the folder wins over a compiled one of its name', () => {
    const own = toHub(CLUSTER, 'PassthroughCluster', new Uint8Array([10, 18, ...Buffer.from('PassthroughCluster')]))
    const { source } = open(setOf(ORDERS, own))
    const cluster = source
      .watch('n', () => {}, facts(1))
      .current()
      .types.get(CLUSTER)!
    assert.equal(cluster.get('PassthroughCluster'), own)
    assert.ok(cluster.size > 3)
  })
})

await suite('Nodes share what is compiled', async () => {
  await test('nodes that are sent the same share one set', () => {
    const { source } = open(setOf(ORDERS + BILLS))
    const sets = Array.from({ length: 2_000 }, (_, i) => source.watch(`n-${i}`, () => {}, facts(i)).current())
    assert.equal(new Set(sets).size, 1)
  })

  await test('a change goes to those whom it concerns, with the versions of what stayed', () => {
    const policy = (path: string): string =>
      object('AuthorizationPolicy', 'shop', 'p', `action: DENY\nrules: [{to: [{operation: {paths: [${path}]}}]}]`)
    const { files, source } = open(setOf(ORDERS + policy('/a')))
    const seen: ResourceSet[] = []
    const edge = source.watch('n', (next) => seen.push(next), facts(1))
    const before = edge.current()
    files.change(setOf(ORDERS + policy('/b')))
    assert.equal(edge.current().version, before.version)
    files.change(setOf(ORDERS + BILLS))
    const [last] = seen.slice(-1)
    const name = 'outbound|80||orders.shop.svc.cluster.local'
    assert.equal(last!.types.get(CLUSTER)!.get(name)!.version, before.types.get(CLUSTER)!.get(name)!.version)
    assert.ok(names(last!, CLUSTER).some((n) => n.includes('bills')))
  })

  await test('a folder without Istio YAML is handed on as it is', () => {
    const set = makeResourceSet([])
    assert.equal(
      open(set)
        .source.watch('n', () => {}, facts(1))
        .current(),
      set,
    )
  })
})
