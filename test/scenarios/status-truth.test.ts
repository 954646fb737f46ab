/**
 * `meshlet status` and the truth, of things that really happen (the table is tested in agent/admin/conditions.test.ts).
 */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { systemDisk } from '../../core/os/disk.ts'
import { MeshError } from '../../core/errors.ts'
import { createRealWorld } from '../../core/real-world.ts'
import type { OpenStorage } from '../../core/storage/storage.ts'
import { freePorts } from '../../tools/free-ports.ts'
import { testCa } from '../helpers/test-ca.ts'
import { nothingIsWrong, problem } from './cli.ts'
import { device, MQTT, publish, subscribeAndLeave } from './mqtt/devices.ts'
import { TestAgent, until } from './site.ts'
import { temporaryFolder } from '../helpers/temporary-folder.ts'

test('an upstream broker that is down while messages wait for it', async (t) => {
  const folder = temporaryFolder(t)
  const [nobody] = (await freePorts(1)) as [number]
  fs.writeFileSync(
    `${folder}/all.json`,
    JSON.stringify({
      resources: [
        {
          '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
          name: 'far',
          type: 'STATIC',
          load_assignment: {
            cluster_name: 'far',
            endpoints: [
              {
                lb_endpoints: [
                  { endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: nobody } } } },
                ],
              },
            ],
          },
        },
      ],
    }),
  )
  const agent = new TestAgent(
    t,
    `directory: ${folder}\n${MQTT.trimEnd()}\nmqtt: {routes: [{match: "a/#", direction: up, cluster: far}]}`,
  )
  await agent.start()
  const one = await device(t, agent, 'plain')
  assert.equal(await publish(one, 'hello'), 0)
  await until('it is told', () =>
    agent.status().problems.some((p) => p.code === 'MESH_MQTT_UPSTREAM_DOWN' && p.text.includes('1 message waits')),
  )
  assert.match(
    (await problem(agent, 'MESH_MQTT_UPSTREAM_DOWN')).text,
    /the upstream broker far is not reached for \d+ s \(.*\); 1 message waits/,
  )
})
test('a clone that takes over the same client id again and again', async (t) => {
  const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\n${MQTT}`)
  await agent.start()
  await device(t, agent, 'pump-1')
  await device(t, agent, 'pump-1')
  await nothingIsWrong(agent)
  for (let i = 0; i < 2; i++) await device(t, agent, 'pump-1')
  assert.match((await problem(agent, 'MESH_MQTT_TAKEN_OVER')).text, /client id "pump-1" was taken over 3 times/)
})
test('every commit of the spool fails; once one works nothing is wrong', async (t) => {
  const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\n${MQTT}`)
  let fails = false
  const { openStorage } = createRealWorld({ bundle: undefined })
  const faulty: OpenStorage = async (o) => {
    const opened = await openStorage(o)
    const { storage } = opened
    return {
      ...opened,
      storage: {
        stats: storage.stats,
        query: (s) => storage.query(s),
        commitInPieces: (p) => storage.commitInPieces(p),
        copyTo: (to) => storage.copyTo(to),
        [Symbol.asyncDispose]: () => storage[Symbol.asyncDispose](),
        commit: (s) =>
          fails ? Promise.reject(new MeshError('MESH_STORAGE_FAILED', 'disk I/O error')) : storage.commit(s),
      },
    }
  }
  agent.over = { openStorage: faulty }
  await agent.start()
  await subscribeAndLeave(agent)
  const one = await device(t, agent, 'plain')
  assert.equal(await publish(one, 'kept'), 0)
  await nothingIsWrong(agent)
  fails = true
  assert.notEqual(await publish(one, 'lost').catch(() => 'not acknowledged'), 0)
  assert.match(
    (await problem(agent, 'MESH_STORAGE_FAILED')).text,
    /the spool could not write, and nothing is acknowledged until it can: disk I\/O error/,
  )
  fails = false
  const two = await device(t, agent, 'other')
  await until('it works again', async () => (await publish(two, 'again').catch(() => -1)) === 0)
  await nothingIsWrong(agent)
})
test('a state folder that was emptied under a running agent', async (t) => {
  const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\n${MQTT}`)
  await agent.start()
  await nothingIsWrong(agent)
  for (const name of fs.readdirSync(`${agent.folder}/state`))
    fs.rmSync(`${agent.folder}/state/${name}`, { recursive: true })
  assert.match(
    (await problem(agent, 'MESH_STATE_UNUSABLE')).text,
    /spool\.db of the state directory .* is gone although open/,
  )
})
test('a ca-crl.pem that cannot be read: the page of status is there and says so', async (t) => {
  const folder = temporaryFolder(t)
  const { keyPem, chainPem, rootsPem } = testCa('demo.mesh').issue('edge', 'gateway')
  for (const [name, pem] of Object.entries({
    'key.pem': keyPem,
    'cert-chain.pem': chainPem,
    'root-cert.pem': rootsPem,
  }))
    fs.writeFileSync(`${folder}/${name}`, pem)
  const agent = new TestAgent(t, `directory: ${temporaryFolder(t)}\nidentity: {folder: ${folder}}\n${MQTT}`)
  let isUnreadable = false
  const { clock, ...world } = createRealWorld({ bundle: undefined })
  agent.over = {
    ...world,
    clock: { ...clock, after: (ms, fire) => clock.after(ms === 5_000 ? 5 : ms, fire) },
    disk: {
      ...systemDisk,
      read: (file) => {
        if (isUnreadable && file.endsWith('ca-crl.pem'))
          throw Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' })
        return systemDisk.read(file)
      },
    },
  }
  await agent.start()
  await nothingIsWrong(agent)
  isUnreadable = true
  await until('it is told', () => agent.problems().length > 0)
  const { status, body } = await agent.ask('/status')
  assert.equal(status, 200)
  assert.match(body, /ca-crl\.pem cannot be used: EACCES/)
  assert.match(
    (await problem(agent, 'MESH_CONFIG_INVALID')).text,
    /identity\.crl: .*ca-crl\.pem cannot be used: EACCES/,
  )
  isUnreadable = false
  await until('it is over', () => agent.problems().length === 0)
})
