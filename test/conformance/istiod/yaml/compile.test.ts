/**
 * The same Istio YAML for a real istiod and for the hub's compiler: what a node is sent of the four types is equal
 * field by field. What cannot be equal stands in test/hub/istio/compare.ts (normalize).
 *
 * MESHLET_YAML_SEED=n: the first of the mixed cases. MESHLET_CAPTURE=1: what the istiod answers becomes the fixture of
 * test/hub/istio/captured.test.ts.
 */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { describeNode } from '../../../../control-sync/ads/node.ts'
import { loadMessages } from '../../../../hub/istio/encode/messages.ts'
import { CASES, mixCases } from '../../../hub/istio/cases/all.ts'
import { NODE, object, type YamlCase } from '../../../hub/istio/cases/case.ts'
import { writeCaptured } from '../../../hub/istio/captured.ts'
import { compileYaml, listDifferences, normalize, type Resources } from '../../../hub/istio/compare.ts'
import { until } from '../../programs.ts'
import { Istiod } from '../rig/istiod.ts'
import { fetchResources } from '../rig/xds-client.ts'

const MIXED = 60
/**
 * Of an istiod that goes through maps of Go, which are in another order each time: which of several HTTP ports of a
 * VirtualService's host has the name without a port in `http_proxy`.
 */
const TRIES = 4
const seed = Number(process.env['MESHLET_YAML_SEED'] ?? 1)
const captured = new Map<string, Resources>()

await test('Istio YAML, compiled by the hub and by an istiod', async (t) => {
  // The hub has nobody that fetches keys of issuers: it compiles as for nodes that do so themselves.
  const istiod = await Istiod.create(t, { store: 'kube', env: { PILOT_JWT_ENABLE_REMOTE_JWKS: 'envoy' } })
  await istiod.start()
  const registry = loadMessages()
  let marker = 0

  /** Given together with a host of its own: when a node is told of that one, the istiod has taken the rest. */
  const ask = async ({ yaml, node }: YamlCase): Promise<Resources> => {
    const host = `marker-${marker++}.example.test`
    const mark =
      object(
        'ServiceEntry',
        'marker',
        'marker',
        `hosts: [${host}]\nports: [{number: 61000, name: tcp, protocol: TCP}]\nresolution: STATIC\nexportTo: [marker]`,
      ) + object('Sidecar', 'marker', 'marker', 'egress: [{hosts: ["marker/*"]}]')
    const file = path.join(istiod.folder, 'config/all.yaml')
    fs.writeFileSync(`${file}.new`, yaml + mark)
    fs.renameSync(`${file}.new`, file)
    const looks = describeNode({ ...NODE, namespace: 'marker', ip: '10.9.9.9' })
    await until('the istiod has read the case', async () => {
      const { cluster } = await fetchResources(istiod.plainAddress, looks, registry)
      return Object.keys(cluster).some((name) => name.endsWith(host))
    })
    return normalize(await fetchResources(istiod.plainAddress, describeNode({ ...NODE, ...node }), registry))
  }

  /** @returns what the istiod answered, where it agrees */
  const compare = async (one: YamlCase): Promise<Resources> => {
    const ours = compileYaml(one.yaml, one.node)
    for (let tries = 1; ; tries++) {
      const theirs = await ask(one)
      const differences = listDifferences(theirs, ours)
      if (differences.length === 0) return theirs
      if (tries === TRIES) assert.deepEqual(differences, [])
    }
  }
  for (const one of CASES)
    await t.test(one.name, async () => {
      captured.set(one.name, await compare(one))
    })
  for (let i = seed; i < seed + MIXED; i++)
    await t.test(mixCases(i).name, async () => void (await compare(mixCases(i))))

  if (process.env['MESHLET_CAPTURE']) writeCaptured(captured)
})
