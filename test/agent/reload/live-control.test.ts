/** Another control plane by a reload: what is taken, what is told of this node, and what needs a restart. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test, type TestContext } from 'node:test'
import { loadConfig } from '../../../agent/config/load.ts'
import type { AgentConfig } from '../../../agent/config/schema.ts'
import { readControlPlane } from '../../../agent/control-sync-settings.ts'
import { createLiveControl } from '../../../agent/reload/live-control.ts'
import { Reloader, type Reloaded } from '../../../agent/reload/reloader.ts'
import { silentLog } from '../../../core/log.ts'
import { Metrics } from '../../../core/metrics.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { testCa } from '../../helpers/test-ca.ts'

const configOf = (yaml: string): AgentConfig => {
  const loaded = loadConfig(`${yaml}\nstate: /s\n`)
  return loaded.ok ? loaded.config : assert.fail(JSON.stringify(loaded.problems))
}

class Rig {
  readonly roots: string
  readonly said: string[] = []
  readonly config: AgentConfig
  readonly #reloader: Reloader
  #next = ''

  constructor(t: TestContext, yaml: (roots: string) => string) {
    this.roots = path.join(temporaryFolder(t), 'roots.pem')
    fs.writeFileSync(this.roots, testCa().rootsPem)
    const read = configOf(yaml(this.roots))
    // As layFoundation copies it.
    this.config = { ...read, control: read.control && { ...read.control }, node: { ...read.node } }
    this.#reloader = new Reloader({
      config: read,
      readConfig: () => configOf(this.#next),
      log: silentLog,
      metrics: new Metrics(),
    })
    this.#reloader.takeLive(
      createLiveControl({
        config: this.config,
        disk: systemDisk,
        node: {
          use: ({ labels, metadata, discoveryAddress }) =>
            this.said.push(`node ${discoveryAddress} ${labels?.['istio.io/rev']} ${JSON.stringify(metadata)}`),
        },
        configuration: { reconnect: () => this.said.push('reconnect') },
      }),
    )
  }
  reload(yaml: string): Promise<Reloaded> {
    this.#next = yaml
    return this.#reloader.reload()
  }
}
const control = (roots: string, address: string, more = ''): string =>
  `control: {address: [${address}], roots: ${roots}${more}}`

test('another address, name and token count at once, for the stream and for certificates; the node is told of it', async (t) => {
  const rig = new Rig(t, (roots) => control(roots, '"a:1"'))
  const plane = readControlPlane(rig.config.control!, '', systemDisk)
  const next = control(rig.roots, '"b:2", "a:1"', ', serverName: istiod-canary.istio-system.svc, token: /t')
  const { applied, needsRestart } = await rig.reload(`${next}\nnode: {labels: {"istio.io/rev": canary}}`)
  assert.deepEqual(needsRestart, [])
  assert.deepEqual([...applied].sort(), [
    'control.address',
    'control.serverName',
    'control.token',
    'node.labels.istio.io/rev',
  ])
  assert.deepEqual(rig.said, ['node b:2 canary {}', 'reconnect'])
  assert.deepEqual([plane.addresses, plane.serverName], [['b:2', 'a:1'], 'istiod-canary.istio-system.svc'])
  await rig.reload(control(rig.roots, '"a:1"'))
  assert.deepEqual(rig.said.slice(2), ['node a:1 undefined {}', 'reconnect'], 'and back')
  assert.equal(plane.serverName, undefined)
})

test('what istiod alone is told of the node is taken without another way; nothing where nothing changed', async (t) => {
  const rig = new Rig(t, (roots) => control(roots, '"a:1"'))
  const same = control(rig.roots, '"a:1"')
  const proxy = 'node: {metadata: {PROXY_CONFIG: {gatewayTopology: {numTrustedProxies: 1}}}}'
  assert.deepEqual((await rig.reload(`${same}\n${proxy}`)).needsRestart, [])
  assert.deepEqual(rig.said, ['node a:1 undefined {"PROXY_CONFIG":{"gatewayTopology":{"numTrustedProxies":1}}}'])
  await rig.reload(`${same}\n${proxy}`)
  assert.equal(rig.said.length, 1)
})

test('other labels and metadata are what the node is known by: from the next start on', async (t) => {
  const rig = new Rig(t, (roots) => control(roots, '"a:1"'))
  const { needsRestart } = await rig.reload(
    `${control(rig.roots, '"b:2"')}\nnode: {labels: {app: other}, metadata: {TRUST_DOMAIN: x}}`,
  )
  assert.deepEqual([...needsRestart].sort(), ['node.labels.app', 'node.metadata.TRUST_DOMAIN'])
  assert.deepEqual(rig.said, ['node b:2 undefined {}', 'reconnect'])
})

test('roots that cannot be used refuse the file', async (t) => {
  const rig = new Rig(t, (roots) => control(roots, '"a:1"'))
  await assert.rejects(rig.reload(control('/no/such/file', '"b:2"')), { code: 'MESH_CONFIG_INVALID' })
  assert.deepEqual([rig.said, rig.config.control?.address], [[], ['a:1']])
})

test('from an istiod to the relay of a hub: from the next start on, and named at each reload', async (t) => {
  const rig = new Rig(t, (roots) => control(roots, '"a:1"'))
  for (let i = 0; i < 2; i++) {
    const { needsRestart, applied } = await rig.reload(control(rig.roots, '"wss://hub.example.org"'))
    assert.deepEqual([needsRestart, applied], [['control.address'], []])
  }
  assert.deepEqual([rig.said, rig.config.control?.address], [[], ['a:1']])
})

test('with another hub that certifies, or another protocol, none of the move is taken before the next start', async (t) => {
  const rig = new Rig(t, (roots) => control(roots, '"a:1"', `, hub: {url: "https://a", roots: ${roots}}`))
  for (const more of [`, hub: {url: "https://b", roots: ${rig.roots}}`, ', protocol: sotw']) {
    const { needsRestart, applied } = await rig.reload(control(rig.roots, '"b:2"', more))
    assert.ok(needsRestart.includes('control.address'), needsRestart.join(' '))
    assert.deepEqual([applied, rig.said, rig.config.control?.address], [[], [], ['a:1']])
  }
  const same = `, hub: {url: "https://a", roots: ${rig.roots}}`
  assert.deepEqual((await rig.reload(control(rig.roots, '"b:2"', same))).applied, ['control.address'])
})
