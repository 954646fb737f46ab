/**
 * A shipped hub and three shipped agents with traffic: each gate is tripped by a revision that does harm. The rollout
 * halts in its first wave, all have the last good revision again, the audit log says why, and traffic is well.
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { freePorts } from '../../../tools/free-ports.ts'
import { until } from '../programs.ts'
import { describeApp, ShippedFleet, type Node } from './fleet.ts'

const SETTINGS =
  'rollout: {atOnceBelow: 2, waves: "30%,100%", soakSec: 45, awaySec: 4, halt: "rejected>0, lost>0, errors>2x"}\n'
const TYPE = 'type.googleapis.com/envoy.config'

/** Valid, and of no use to a device where something else listens there. */
const describeListener = (port: number): string => `resources:
- "@type": ${TYPE}.listener.v3.Listener
  name: taken
  address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}
  filter_chains:
  - filters:
    - name: tcp
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: app
        cluster: app
`
/** No agent.yaml permits a file of that name. */
const describeFile = (file: string): string => `resources:
- "@type": ${TYPE}.cluster.v3.Cluster
  name: erp
  type: STATIC
  load_assignment: {cluster_name: erp}
  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      common_tls_context: {validation_context_sds_secret_config: {name: "file-root:${file}"}}
`

/** Of no use to anybody, and of no harm. */
const describeSpare = (port: number): string =>
  describeApp(port).replaceAll('app', 'spare').replaceAll('http_proxy', 'spare')

type Trip = {
  readonly poison: () => void
  readonly mend: () => void
  /** Once one device has the revision. */
  readonly meanwhile?: (victim: Node, halted: () => Promise<unknown>) => Promise<void>
  readonly reason: RegExp
}

async function trip(fleet: ShippedFleet, { poison, mend, meanwhile, reason }: Trip): Promise<void> {
  const good = (await fleet.who())[0]!.inForce!
  const [before] = await fleet.rollouts()
  poison()
  if (meanwhile) {
    const victim = await fleet.hub.until('one device has it', async () => {
      const all = await fleet.who()
      const with_ = all.filter(({ inForce }) => inForce !== good)
      assert.ok(with_.length <= 1, 'the first wave is one device')
      return with_[0] && fleet.nodes.find(({ name }) => name === with_[0]!.name)
    })
    await meanwhile(victim, () => fleet.until('halted', before!.id))
  }
  const halted = await fleet.until('halted', before!.id)
  assert.match(halted.reason, reason)
  await fleet.settled(good)
  await Promise.all(fleet.nodes.map((node) => node.isWell()))
  const audited = await fleet.audited(halted.id)
  assert.deepEqual(
    audited.map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['hub rollout.started', 'hub rollout.halted'],
  )
  assert.ok(audited[1]!.includes(`wave 1 of 2: ${halted.reason}`), audited[1]!)
  const [untouched] = await fleet.rollouts()
  assert.equal(untouched!.id, halted.id, 'nobody tries it again')
  mend()
  await fleet.hub.until('the folder is as it was', async () => {
    const status = JSON.parse(await fleet.operate('rollout', 'status', '--json')) as { folder: { revision: string } }
    return status.folder.revision === good
  })
}

test(
  'each gate halts what does harm to one device of three, and all are as they were',
  { timeout: 280_000 },
  async (t) => {
    const fleet = await ShippedFleet.start(t, SETTINGS)
    await fleet.settled((await fleet.who())[0]!.inForce!)
    const atFirst = fleet.nodes.map(({ failures }) => failures)

    const busy = net.createServer().listen(0, '127.0.0.1')
    await once(busy, 'listening')
    t.after(() => void busy.close())
    const { port } = busy.address() as net.AddressInfo
    for (const text of [describeFile(`${fleet.folder}/hub.yaml`), describeListener(port)])
      await trip(fleet, {
        poison: () => fleet.write('more.yaml', text),
        mend: () => fleet.remove('more.yaml'),
        reason: /^rejected>0: 1 of 1 device\(s\), gw-/,
      })
    assert.deepEqual(
      fleet.nodes.map(({ failures }) => failures),
      atFirst,
      'a revision that is refused costs no request',
    )

    const dead = (await freePorts(1))[0]!
    await trip(fleet, {
      poison: () => fleet.write('app.yaml', describeApp(dead)),
      mend: () => fleet.write('app.yaml', describeApp(fleet.appPort)),
      meanwhile: async (victim) => {
        await until('requests fail', () => victim.failures > 0)
      },
      reason: /^errors>2x: \d+ of \d+ requests failed, 0 % before and 0 % at the other devices/,
    })
    const harmed = fleet.nodes.filter(({ failures }, i) => failures > atFirst[i]!)
    assert.equal(harmed.length, 1, 'the two others have served all the time')

    await trip(fleet, {
      poison: () => fleet.write('more.yaml', describeSpare(fleet.appPort)),
      mend: () => fleet.remove('more.yaml'),
      meanwhile: async (victim, halted) => {
        await victim.agent.stop('SIGKILL')
        await halted()
        victim.start()
      },
      reason: /^lost>0: 1 of 1 device\(s\), gw-/,
    })
  },
)
