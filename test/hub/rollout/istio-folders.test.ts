/** Istio YAML for all, for labels and for a device: who is sent what, and what a clash changes (nothing). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { makeCluster } from '../source/resource-files.ts'
import { object } from '../istio/cases/case.ts'
import { startFleet, type FleetRig } from './fleet-rig.ts'

const PORTS = { bills: 80, meter: 9000, own: 9001 } as const
type Service = keyof typeof PORTS
const cluster = (name: Service, port: number = PORTS[name]): string => `outbound|${port}||${name}.test`
const service = (name: Service, port: number = PORTS[name]): string =>
  object(
    'ServiceEntry',
    'shop',
    name,
    `hosts: [${name}.test]\nports: [{number: ${port}, name: http, protocol: HTTP}]\nresolution: STATIC\nendpoints: [{address: 10.0.0.5}]`,
  )

/** gw-0 is in the north, gw-1 is not and has a folder of its own, gw-2 has nothing. */
const startSite = (t: Parameters<typeof startFleet>[0]): Promise<FleetRig> =>
  startFleet(t, {
    devices: 3,
    labels: (i): Record<string, string> => (i === 0 ? { site: 'north' } : {}),
    files: {
      'services.yaml': service('bills'),
      '@site=north/meter.yaml': service('meter'),
      'gw-1/own.yaml': service('own'),
    },
  })
/** Of each device. */
const outbound = ({ devices }: FleetRig): string[][] =>
  devices.map(({ has }) => [...has.keys()].filter((name) => name.startsWith('outbound|')).sort())
const FIRST = [[cluster('bills'), cluster('meter')], [cluster('bills'), cluster('own')], [cluster('bills')]]

test('each device is sent what is for all, for its labels and its own, compiled together', async (t) => {
  const rig = await startSite(t)
  assert.deepEqual(outbound(rig), FIRST)

  // An object of a narrower folder takes the place of the one of its name.
  rig.write('@site=north/bills.yaml', service('bills', 81))
  await rig.passes(5_000, () => rig.devices[0]!.has.has(cluster('bills', 81)))
  assert.deepEqual(outbound(rig), [[cluster('bills', 81), cluster('meter')].sort(), ...FIRST.slice(1)])

  // And a resource of Envoy that of what is compiled.
  const versions = rig.devices.map(({ has }) => has.get(cluster('bills')))
  rig.write('gw-1/raw.yaml', makeCluster(cluster('bills')))
  await rig.passes(5_000, () => rig.devices[1]!.has.get(cluster('bills')) !== versions[1])
  assert.equal(rig.devices[2]!.has.get(cluster('bills')), versions[2])
})

for (const [what, file, text, problem] of [
  [
    'one object in two files',
    'again.yaml',
    service('bills', 82),
    /services\.yaml line 2: ServiceEntry shop\/bills, name: stands in again\.yaml line 2 already/,
  ],
  [
    'one object in two files of a label',
    '@site=north/again.yaml',
    service('meter', 82),
    /@site=north\/meter\.yaml line 2: ServiceEntry shop\/meter, name: stands in @site=north\/again\.yaml line 2/,
  ],
  [
    'a resource of Envoy beside what is compiled to it',
    'gw-1/raw.yaml',
    makeCluster(cluster('own')),
    /gw-1\/raw\.yaml line 2: cluster "outbound\|9001\|\|own\.test", name: gw-1\/own\.yaml line 2, ServiceEntry shop\/own/,
  ],
] as const)
  test(`a clash is told and changes nothing, nor does what was written with it: ${what}`, async (t) => {
    const rig = await startSite(t)
    const sent = rig.devices.map((device) => device.sent)
    rig.write(file, text)
    rig.write('more.yaml', service('own', 90))
    await rig.passes(5_000, () => rig.metrics.total('mesh_hub_folder_invalid') === 1)
    assert.match((await rig.registry.rollouts.folder()).problems.join('\n'), problem)
    await rig.passes(5_000)
    assert.deepEqual(outbound(rig), FIRST)
    assert.deepEqual(
      rig.devices.map((device) => device.sent),
      sent,
    )

    fs.rmSync(`${rig.folder}/${file}`)
    await rig.passes(10_000, () => rig.devices[2]!.has.has(cluster('own', 90)))
    assert.deepEqual(outbound(rig)[1], FIRST[1], 'its own wins over what is for all')
  })
